"""The id of the request being answered: from `X-Request-ID` when it is a sane one, else a new one."""

import re
from contextvars import ContextVar
from uuid import uuid4

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of this request; empty outside of one."""
    return _current.get()


def begin_request(offered: bytes | None) -> str:
    """Make `offered` the current id, or a new one when it is missing or unfit for logs."""
    request_id = offered.decode() if offered and _SANE.fullmatch(offered) else uuid4().hex
    _current.set(request_id)
    return request_id
