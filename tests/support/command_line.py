"""The `octavo` command, in a process of its own or in this one, with a home of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from libs.client.cli import main
from services.local.process import free_port

_PROGRAM = "from libs.client.cli import main; main()"


@dataclass(frozen=True)
class Finished:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`octavo` on the stack of `home`."""

    home: Path

    def __post_init__(self) -> None:
        """Stacks that start at the same moment would all find the usual port free: give each its own."""
        remembered = self.home / "ports" / "gateway"
        if not remembered.exists():
            remembered.parent.mkdir(parents=True)
            remembered.write_text(f"{free_port()}\n")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OCTAVO_")}
        return {**kept, "OCTAVO_HOME": str(self.home), "COLUMNS": "200", "NO_COLOR": "1"}

    def run(self, *arguments: str | Path, timeout_s: float = 240.0) -> Finished:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            env=self.environment, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)

    def call(self, *arguments: str | Path, **environment: str) -> Finished:
        """Run a command of the client in this process: the imports are paid once."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {**self.environment, **environment}, clear=True),
            mock.patch.object(sys, "argv", ["octavo", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Finished(code, out.getvalue(), err.getvalue())

    def called(self, *arguments: str | Path, **environment: str) -> Finished:
        """Call a command that must succeed."""
        finished = self.call(*arguments, **environment)
        assert finished.code == 0, f"octavo {' '.join(map(str, arguments))}\n{finished.out}\n{finished.err}"
        return finished

    def done(self, *arguments: str | Path, timeout_s: float = 240.0) -> Finished:
        """Run a command that must succeed."""
        finished = self.run(*arguments, timeout_s=timeout_s)
        assert finished.code == 0, f"octavo {' '.join(map(str, arguments))}\n{finished.out}\n{finished.err}"
        return finished

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this home: by its environment, its command line or its ancestors."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("OCTAVO_HOME") == str(self.home) or any(
                    part.startswith(str(self.home)) for part in process.cmdline()
                )
                if ours:
                    found |= {one.pid: one for one in (process, *process.children(recursive=True))}
            except psutil.Error:
                continue
        return [one for one in found.values() if one.pid != os.getpid()]
