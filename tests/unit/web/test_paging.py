from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.web.paging import MAX_CURSOR_CHARS, Position, decode_cursor, encode_cursor
from libs.web.problems import UnprocessableError

positions = st.builds(Position, st.datetimes(timezones=st.just(UTC)), st.uuids())
filters = st.dictionaries(st.sampled_from(["status", "method", "name"]), st.text(max_size=10))
SOME = Position(datetime(2026, 1, 1, tzinfo=UTC), UUID(int=7))


@given(positions, filters)
def test_a_cursor_comes_back_as_the_position_it_was_made_from(position: Position, chosen: dict[str, str]) -> None:
    cursor = encode_cursor(position, "jobs", chosen)
    assert decode_cursor(cursor, "jobs", chosen) == position
    assert len(cursor) <= MAX_CURSOR_CHARS


@given(st.text(max_size=MAX_CURSOR_CHARS))
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(UnprocessableError) as caught:
        decode_cursor(text, "jobs", {})
    assert caught.value.errors[0].pointer == "/cursor"


@given(positions, st.integers(min_value=0), st.sampled_from("ABCDwxyz0189-_"))
def test_an_edited_cursor_is_refused(position: Position, place: int, letter: str) -> None:
    cursor = encode_cursor(position, "jobs", {})
    place %= len(cursor) - 1  # the last letter carries unused bits
    edited = cursor[:place] + letter + cursor[place + 1 :]
    if edited != cursor:
        with pytest.raises(UnprocessableError):
            decode_cursor(edited, "jobs", {})


def test_a_cursor_of_another_list_or_other_filters_is_refused() -> None:
    cursor = encode_cursor(SOME, "jobs", {"status": "queued"})
    for listing, chosen in (("models", {"status": "queued"}), ("jobs", {"status": "failed"}), ("jobs", {})):
        with pytest.raises(UnprocessableError):
            decode_cursor(cursor, listing, chosen)


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None, "jobs", {}) is None
