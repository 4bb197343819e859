"""Lists by pages: an opaque cursor that says after which row the next page starts.

A cursor carries a check value over its content, the list it belongs to and that list's filters: a cursor from
elsewhere, or one that was edited, is refused instead of giving a page that skips rows silently. It grants nothing
(every query is bounded by the caller's project), so the check value is a checksum and not a signature.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from libs.web.problems import FieldProblem, UnprocessableError

Item = TypeVar("Item")
MAX_CURSOR_CHARS = 400

Limit = Annotated[int, Query(ge=1, le=200, description="Items a page.")]
CursorText = Annotated[
    str | None, Query(max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before; filters unchanged.")
]


class Position(NamedTuple):
    """The last row of a page, in the order (created_at, id)."""

    created_at: datetime
    id: UUID


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = Field(default=None, examples=[None])


def encode_cursor(position: Position, listing: str, filters: Mapping[str, Any]) -> str:
    """The cursor of the page that starts after `position`."""
    body = json.dumps([position.created_at.isoformat(), position.id.hex], separators=(",", ":"))
    return urlsafe_b64encode(_check(body, listing, filters) + body.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, listing: str, filters: Mapping[str, Any]) -> Position | None:
    """The position a cursor stands for, None for the first page.

    Raises:
        UnprocessableError: it was not made by `encode_cursor` for this list and these filters.
    """
    if cursor is None:
        return None
    try:
        return _position(_checked_body(cursor, listing, filters))
    except ValueError:
        message = "This is not a cursor of this list with these filters; start again without a cursor."
        field = FieldProblem(pointer="/cursor", message=message, location="query")
        raise UnprocessableError(f"cursor: {message}", code="invalid_cursor", errors=[field]) from None


_CHECK_BYTES = 6


def _checked_body(cursor: str, listing: str, filters: Mapping[str, Any]) -> str:
    raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    body = raw[_CHECK_BYTES:].decode()
    if raw[:_CHECK_BYTES] != _check(body, listing, filters):
        raise ValueError("check value differs")
    return body


def _position(body: str) -> Position:
    """Only bodies that `encode_cursor` wrote get here: their check value fits."""
    created_at, row_id = json.loads(body)
    return Position(datetime.fromisoformat(created_at), UUID(hex=row_id))


def _check(body: str, listing: str, filters: Mapping[str, Any]) -> bytes:
    bound = json.dumps([body, listing, {key: str(value) for key, value in filters.items()}], sort_keys=True)
    return hashlib.sha256(bound.encode()).digest()[:_CHECK_BYTES]
