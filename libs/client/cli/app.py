"""The tree of commands. Importing it must stay fast: whatever a command needs is imported inside it."""

from collections.abc import Callable

import typer

from libs.client.cli import datasets, jobs, keys, local, methods, models, schedules, serving, storage
from libs.client.cli.convert import convert
from libs.client.cli.output import AsJson, connect, print_json
from libs.client.cli.recommend import recommend, similar
from libs.client.cli.traffic import traffic
from libs.client.cli.users import events, feedback, history

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, distil, compare and serve models by published methods.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not reachable, 4 invalid request, 5 not found, 6 no access.",
)
LOCAL, WORK = "The local stack", "Work"
app.add_typer(datasets.app, name="datasets", rich_help_panel=WORK)
app.add_typer(jobs.app, name="jobs", rich_help_panel=WORK)
app.add_typer(schedules.app, name="schedules", rich_help_panel=WORK)
app.add_typer(models.app, name="models", rich_help_panel=WORK)
app.command(rich_help_panel=WORK)(methods.methods)
for _command in (
    serving.deploy,
    serving.undeploy,
    serving.deployments,
    traffic,
    serving.predict,
    recommend,
    similar,
    events,
    history,
    feedback,
    serving.evaluate,
    convert,
):
    app.command(rich_help_panel=WORK)(_command)
app.add_typer(keys.app, name="keys")
app.command()(storage.du)
app.command()(storage.gc)


def _local(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        local.pass_on(name, context.args)

    return command


for _name, _help in local.HELP.items():
    app.command(_name, help=_help, context_settings=local.PASSED_ON, add_help_option=False, rich_help_panel=LOCAL)(
        _local(_name)
    )


@app.command()
def env() -> None:
    """Print address and key for a shell: eval "$(octavo env)"."""
    import shlex

    from libs.client.discovery import find_target

    target = find_target()
    typer.echo(f"export OCTAVO_URL={shlex.quote(target.url)}")
    typer.echo(f"export OCTAVO_API_KEY={shlex.quote(target.api_key)}")


@app.command()
def version(as_json: AsJson = False) -> None:
    """Versions of this command and of the gateway it talks to."""
    from importlib.metadata import version as installed

    from libs.client.errors import OctavoError

    try:
        with connect() as octavo:
            gateway: str | None = octavo.version()
    except OctavoError:
        gateway = None
    if as_json:
        print_json({"client": installed("octavo"), "gateway": gateway})
    else:
        typer.echo(f"octavo {installed('octavo')}, gateway {gateway or 'not reachable'}")
