"""Where the work at hand comes from: what travels with a job from the request that asked for it to its end.

The gateway begins an origin with each request, the relay with each time of a schedule. A job keeps the one it was
submitted under (`libs.jobs.submit`), and whoever works on the job logs and traces under that one.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Origin:
    """One request, or one time of a schedule.

    Attributes:
        request_id: 1 to 64 of the characters `A-Za-z0-9._-`; empty where there is none.
        traceparent: the span that the work belongs to, as W3C Trace Context writes it; None: it is not traced.
    """

    request_id: str = ""
    traceparent: str | None = None

    @property
    def log_fields(self) -> dict[str, str]:
        """What a log line says of it."""
        request = {"request_id": self.request_id} if self.request_id else {}
        return {**request, **({"trace_id": self.traceparent.split("-")[1]} if self.traceparent else {})}


_NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def current_origin() -> Origin:
    """The origin of the work of this thread or task."""
    return _current.get()


def set_origin(origin: Origin) -> None:
    """What this thread or task does from now on comes from there."""
    _current.set(origin)


def new_request_id() -> str:
    """An id that nobody has used."""
    return uuid4().hex
