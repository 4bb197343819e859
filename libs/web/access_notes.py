"""What a route wants said in the access log line of its request, such as the id of the job it made."""

from contextvars import ContextVar

_notes: ContextVar[dict[str, str] | None] = ContextVar("access_notes", default=None)


def begin_notes() -> dict[str, str]:
    """Start collecting for one request; the dict is shared with the threads that serve it."""
    notes: dict[str, str] = {}
    _notes.set(notes)
    return notes


def note(**fields: str) -> None:
    """Add fields to this request's line; outside of a request, nothing."""
    if (notes := _notes.get()) is not None:
        notes.update(fields)
