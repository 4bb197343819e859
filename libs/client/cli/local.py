"""`octavo up`, `down`, `status`, `doctor`, `logs`: passed on to the local stack, which is not part of the client."""

import os
import sys
from importlib.util import find_spec

import typer

PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
HELP = {
    "up": "Start the whole of Octavo on this machine. Ctrl-C stops it without losing a job.",
    "down": "Stop it. Running jobs write a checkpoint and are queued again.",
    "status": "Say what runs. Exit code 3 when nothing does.",
    "doctor": "Check what this machine needs; say what is missing.",
    "logs": "Print the end of the services' logs.",
}


def pass_on(command: str, arguments: list[str]) -> None:
    """Become the local stack's own program."""
    if find_spec("services") is None or find_spec("services.local") is None:
        typer.echo("The local stack is not installed here: this is the client alone.", err=True)
        raise typer.Exit(1)
    if find_spec("psutil") is None:
        install = "pip install '.[local]' in a checkout; `make install` takes all"
        typer.echo(f"The local stack needs the extra `local`: {install}.", err=True)
        raise typer.Exit(1)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "services.local", command, *arguments])  # noqa: S606
