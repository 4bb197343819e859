"""A sign of life for processes that answer no HTTP."""

from pathlib import Path


def note_alive(file: Path | None) -> None:
    """Touch the file of `OCTAVO_ALIVE_FILE`, if there is one: Postgres has just been spoken with."""
    if file is not None:
        file.touch()
