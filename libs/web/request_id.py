"""The id of the request being answered: from `X-Request-ID` when it is a sane one, else a new one."""

import re

from libs.origin import current_origin, new_request_id

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def current_request_id() -> str:
    """The id of this request; empty outside of one."""
    return current_origin().request_id


def request_id_of(offered: bytes | None) -> str:
    """`offered`, or a new id when it is missing or unfit for logs."""
    return offered.decode() if offered and _SANE.fullmatch(offered) else new_request_id()
