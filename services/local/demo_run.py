"""What the demos share: the stack started and stopped around them, the time of each step, a deployment."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import typer
from rich.console import Console

from libs.client.cli.failures import report
from libs.client.client import Octavo
from libs.client.errors import OctavoError
from libs.client.records import Deployment
from services.local import commands
from services.local.layout import Layout

console = Console(highlight=False)


class Steps:
    """Says what is being done, and how long each thing took."""

    def __init__(self) -> None:
        self.took: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time one step."""
        console.print(f"\n[bold cyan]{title}[/]")
        begun = time.monotonic()
        yield
        self.took.append((title, time.monotonic() - begun))

    def show(self) -> None:
        """Print the table of times."""
        console.print()
        for title, seconds in [*self.took, ("together", sum(seconds for _, seconds in self.took))]:
            console.print(f"  {seconds:6.1f} s  {title}")


def run(show_everything: Callable[[Octavo, Steps], None], packages: Sequence[str] = ()) -> int:
    """Show something on a stack that is started for it and stopped after it, or on the one that runs; the exit code.

    Args:
        packages: modules it needs beside what the stack needs.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        console.print(f"The demo needs {' and '.join(missing)}: pip install -r requirements/dev.txt", style="red")
        return 1
    steps = Steps()
    layout = Layout(commands.local_settings().home)
    ran_before = layout.running() is not None
    try:
        if not ran_before:
            with steps.step("Starting Postgres, both Valkeys, gateway, relay, worker, model server and recommender"):
                commands.announce(commands.start_detached(layout))
        with Octavo() as octavo:
            show_everything(octavo, steps)
    except OctavoError as error:
        return report(error, as_json=False)
    except typer.Exit as ended:
        return ended.exit_code
    finally:
        if not ran_before:
            with steps.step("Stopping"):
                commands.down()
    steps.show()
    console.print("\nWhat was made is kept. Go on with `make up` and `octavo --help`.")
    return 0


def deploy(octavo: Octavo, model: str, version: int) -> Deployment:
    """Serve a version under the model's name, whether or not an older one is served."""
    if any(one.name == model for one in octavo.deployments.list()):
        octavo.deployments.update(model, f"{model}@{version}")
    else:
        octavo.deployments.create(f"{model}@{version}", model)
    return octavo.deployments.wait_ready(model)
