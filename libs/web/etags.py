"""`If-Match` and `ETag` for rows that carry a revision number."""

import re

from libs.web.problems import FieldProblem, UnprocessableError

_ETAG = re.compile(r'"([1-9][0-9]{0,17})"')
ANY = 0
"""`If-Match: *`: whatever the revision is."""


def etag(revision: int) -> str:
    """The ETag of a revision."""
    return f'"{revision}"'


def wants_absent(if_none_match: str | None) -> bool:
    """Whether the thing must not exist yet: `If-None-Match: *`.

    Raises:
        UnprocessableError: the header is something else.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() != "*":
        message = "If-None-Match is only *: there must be no such thing yet."
        field = FieldProblem(pointer="/If-None-Match", message=message, location="header")
        raise UnprocessableError(message, errors=[field])
    return True


def expected_revision(if_match: str | None) -> int | None:
    """The revision the caller read: `ANY` for `*`, None when no header came (it should not exist yet).

    Raises:
        UnprocessableError: the header is something else.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        message = 'If-Match is one ETag as it was read, like "3", or *.'
        field = FieldProblem(pointer="/If-Match", message=message, location="header")
        raise UnprocessableError(message, errors=[field])
    return int(found[1])
