"""One stack for the tests of this folder, started and stopped by the command line."""

from collections.abc import Iterator

import psutil
import pytest

from tests.support.command_line import CommandLine
from tests.support.postgres import open_folder


@pytest.fixture(scope="module")
def octavo_command() -> Iterator[CommandLine]:
    """The `octavo` command of a stack that runs; nothing of it remains."""
    with open_folder("octavo-e2e-") as folder:
        command = CommandLine(folder / "home")
        try:
            command.done("up", "--detach")
            yield command
        finally:
            command.run("down")
            alive = command.processes()
            for process in alive:
                process.kill()
            psutil.wait_procs(alive, timeout=30)
        assert alive == []
