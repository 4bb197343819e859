"""Newest-first lists over the order (created_at, id), which `Position` and the tables' indices share."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from libs.web.paging import Page, Position, encode_cursor

Item = TypeVar("Item")
SHOWN_VERSIONS = 100
"""Versions that are shown beside the model or the data set itself; the rest has a list of its own."""


class Listed(Protocol):
    """A row that a list can end at."""

    id: Any
    created_at: Any


Row = TypeVar("Row", bound=Listed)


def page_of(
    rows: Sequence[Row], limit: int, listing: str, filters: dict[str, Any], to_item: Callable[[Row], Item]
) -> Page[Item]:
    """The page of the first `limit` rows; one row more than that says that there is a next page."""
    kept = rows[:limit]
    cursor = None
    if len(rows) > limit:
        cursor = encode_cursor(Position(kept[-1].created_at, kept[-1].id), listing, filters)
    return Page(items=[to_item(row) for row in kept], next_cursor=cursor)
