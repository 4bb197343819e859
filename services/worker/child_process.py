"""A child process seen from its supervisor: started, listened to, told to stop, killed with all it started."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import IO

import psutil

from libs.background import thread_of_this_context
from services.worker.attempt_folder import AttemptFolder

_LONGEST_LINE = 64 << 20
"""Bytes of one message (a validation report can be long); a child that writes more has its line cut."""


class ChildProcess:
    """One process in its own session. `on_message` gets each line of its pipe, `on_output` each line it prints.

    Both are called from threads of this object, and not after `finish` has returned.
    """

    def __init__(
        self, folder: AttemptFolder, on_message: Callable[[bytes], None], on_output: Callable[[bytes], None]
    ) -> None:
        self._folder = folder
        self._on_message = on_message
        self._on_output = on_output
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[Thread] = []
        self.exited = Event()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. Call from a thread that outlives it: the kernel ties it to the calling thread.

        Raises:
            OSError: this machine has no room for another process; nothing is left open.
        """
        reading = os.open(self._folder.messages, os.O_RDONLY | os.O_NONBLOCK)
        self._messages_end = os.open(self._folder.messages, os.O_WRONLY)  # held: no end of file before we want it
        os.set_blocking(reading, True)
        alive_read = os.open(self._folder.alive, os.O_RDONLY | os.O_NONBLOCK)
        self._alive_end = os.open(self._folder.alive, os.O_WRONLY)
        os.close(alive_read)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=self._folder.files,
                start_new_session=True,
            )
        except OSError:
            for descriptor in (reading, self._messages_end, self._alive_end):
                os.close(descriptor)
            raise
        assert self._process.stdout is not None  # as asked for above
        self._listen(os.fdopen(reading, "rb"), self._on_message)
        self._listen(self._process.stdout, self._on_output)
        Thread(target=self._wait, args=(self._process.pid,), name="octavo-wait", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the started process."""
        assert self._process is not None
        return self._process.pid

    def _listen(self, stream: IO[bytes], handle: Callable[[bytes], None]) -> None:
        def read() -> None:
            with stream:
                while line := stream.readline(_LONGEST_LINE):
                    handle(line)

        thread = thread_of_this_context(read, "octavo-read")
        thread.start()
        self._threads.append(thread)

    def _wait(self, pid: int) -> None:
        """Wait without reaping: its id, and so its group's, stays taken until `finish`."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.exited.set()

    def kill(self) -> None:
        """SIGKILL to the process and all it started, sessions of their own included."""
        below = self._descendants()
        self._signal_group(signal.SIGKILL)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def finish(self) -> int:
        """After `exited`: end what it left behind, read its last words, and return its exit status."""
        assert self._process is not None
        self.exited.wait()
        self._signal_group(signal.SIGKILL)
        os.close(self._alive_end)
        status = self._process.wait()
        os.close(self._messages_end)
        for thread in self._threads:
            thread.join()
        return status

    def _descendants(self) -> list[psutil.Process]:
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
