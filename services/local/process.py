"""A server process of ours: started in its own session, tied to us, logged to a file, stopped by signals."""

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from services.local.errors import AlreadyRunningError, StartError

_TETHER = Path(__file__).with_name("tether.py")
_LOG_LIMIT_BYTES = 10 * 2**20
_POLL_S = 0.03
_LOCK_PATIENCE_S = 0.3  # `lock_holder` holds the lock for a moment while it looks


@dataclass(frozen=True, slots=True)
class Account:
    """The Unix account a server runs as."""

    name: str
    uid: int
    gid: int


def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, its output appended to `log`.

    The kernel sends it `death_signal` when the calling *thread* ends: call this from a thread that lives as long as
    the server should.
    """
    ids = (account.uid, account.gid) if account else (-1, -1)
    tether = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), str(int(death_signal)), *map(str, ids)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*tether, *map(str, command)],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environment is None else dict(environment),
            cwd=folder,
        )


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal and wait its seconds until the process is gone; SIGKILL at the end.

    Returns whether it ended without SIGKILL.
    """
    for signal_, wait_s in steps:
        if process.poll() is not None:
            return True
        process.send_signal(signal_)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            return True
    process.kill()
    process.wait()
    return False


def wait_until_ready(
    name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, timeout_s: float
) -> None:
    """Poll `ready` until it is true.

    Raises:
        StartError: the process ended, or the time is over; the message carries the end of the log.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        code = process.poll()
        if code is not None:
            raise StartError(f"{name} ended with code {code} while starting. The end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{name} did not answer within {timeout_s:g} s. The end of {log}:\n{tail(log)}")
        time.sleep(_POLL_S)


def tail(log: Path, lines: int = 20, limit_bytes: int = 8192) -> str:
    """The last lines of a log file, indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - limit_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def bound_log(log: Path, limit_bytes: int = _LOG_LIMIT_BYTES) -> bool:
    """Move the content of a log over its limit to `<log>.1`; works while a server appends to it."""
    if not log.exists() or log.stat().st_size <= limit_bytes:
        return False
    older = log.with_name(log.name + ".1")
    older.write_bytes(log.read_bytes()[-limit_bytes:])
    os.truncate(log, 0)
    return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def remembered_port(file: Path, wanted: int | None, promised: Collection[int] = ()) -> int:
    """The wanted port, else the one used last time if it is still free, else a new one; written to `file`.

    Args:
        promised: ports of servers that do not listen yet; the system may name one of them again.
    """
    port = wanted
    if port is None and file.exists():
        last = file.read_text().strip()
        port = int(last) if last.isdigit() and int(last) not in promised and port_is_free(int(last)) else None
    while port is None or port in promised:
        port = free_port()
    file.write_text(f"{port}\n")
    return port


def secret(file: Path) -> str:
    """The secret kept in `file` (mode 0600), made at the first call."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text().strip()


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step: readers see the old content or the new."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def hold(lock: Path, what: str) -> FileIO:
    """Take a lock file until the returned file is closed or this process ends.

    Raises:
        AlreadyRunningError: another process, or another object of this one, holds it.
    """
    file = FileIO(lock, "a+")
    patience_until = time.monotonic() + _LOCK_PATIENCE_S
    while not (held := _lock(file)) and time.monotonic() < patience_until:
        time.sleep(_POLL_S)
    if not held:
        holder = _content(file)
        file.close()
        raise AlreadyRunningError(f"{what} already runs, held by process {holder} (lock file {lock}).")
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    return file


def lock_holder(lock: Path) -> int | None:
    """The process that holds a lock file; None when nobody does."""
    if not lock.exists():
        return None
    with FileIO(lock, "r") as file:
        return None if _lock(file) else int(_content(file) or -1)


def _lock(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(file: FileIO) -> str:
    file.seek(0)
    return file.read().decode().strip()
