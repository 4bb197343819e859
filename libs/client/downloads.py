"""Files from the gateway to this machine: resumed after interruptions, checked, and named only when whole."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from libs.client.errors import LocalFileError, UnavailableError, UnreachableError
from libs.client.transport import Transport

_BLOCK_BYTES = 1 << 20
Progress = Callable[[int, int | None], None]
"""Called with the bytes done and, where known, the bytes in all."""


def download(
    transport: Transport, path: str, target: Path, *, digest: str | None = None, progress: Progress | None = None
) -> Path:
    """Fetch `path` into `target`.

    Raises:
        LocalFileError: the target cannot be written, or what arrived has another digest.
        UnreachableError: it broke off again and again.
    """
    unfinished = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    failures = 0
    while True:
        try:
            _continue(transport, path, unfinished, progress)
            break
        except (UnreachableError, UnavailableError):
            failures += 1
            if failures >= transport.retries.attempts:
                raise
            transport.sleep(transport.retries.wait_s(failures))
        except OSError as error:
            raise LocalFileError(f"{unfinished} cannot be written: {error.strerror}.") from None
    if digest is not None and file_digest(unfinished) != digest:
        unfinished.unlink()
        raise LocalFileError(f"What arrived for {target} is not what was sent (its SHA-256 differs). Try again.")
    return unfinished.replace(target)


def _continue(transport: Transport, path: str, file: Path, progress: Progress | None) -> None:
    done = file.stat().st_size if file.exists() else 0
    headers = {"Accept": "*/*", **({"Range": f"bytes={done}-"} if done else {})}
    with transport.stream("GET", path, headers=headers) as response:
        if response.status_code != 206:  # the whole again: this address knows no ranges
            done = 0
        length = response.headers.get("content-length")
        total = done + int(length) if length is not None else None
        with file.open("ab" if done else "wb") as output:
            for block in response.iter_bytes(_BLOCK_BYTES):
                output.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
