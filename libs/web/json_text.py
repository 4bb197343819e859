"""What JSON allows in strings and Postgres does not store."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from libs.web.problems import MOST_FIELDS, FieldProblem, UnprocessableError, pointer

_MAX_DEPTH = 64
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_storable(body: Any) -> None:
    """Refuse a body with a NUL or half a surrogate pair in any key or value, or nested without end.

    Raises:
        UnprocessableError: with a pointer to each such place.
    """
    found = islice(_unstorable(body, ()), MOST_FIELDS)
    bad = [FieldProblem(pointer=pointer(path), message=why) for path, why in found]
    if bad:
        raise UnprocessableError(bad[0].message, errors=bad)


def _unstorable(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if len(path) > _MAX_DEPTH:
        yield path[:8], f"This is nested deeper than {_MAX_DEPTH} levels."
    elif isinstance(value, str):
        if not _is_text(value):
            yield path, "Text must not hold NUL or half a surrogate pair."
    elif isinstance(value, dict):
        for key, item in value.items():
            if not _is_text(key):
                yield path, "A key must not hold NUL or half a surrogate pair."
            else:
                yield from _unstorable(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, (*path, index))


def _is_text(value: str) -> bool:
    return _UNSTORABLE.search(value) is None
