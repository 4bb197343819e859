"""The events in a request body: one JSON object, a JSON list, or a JSON object a line (NDJSON)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Annotated, TypeVar

from pydantic import FailFast, Field, TypeAdapter, ValidationError

from libs.web.field_errors import names_in
from libs.web.problems import (
    FieldProblem,
    TooLargeError,
    UnprocessableError,
    UnsupportedMediaTypeError,
    field_problems,
    pointer,
    summary_of,
)
from services.recommender.events.schemas import Event

T = TypeVar("T")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = TypeAdapter(Event)
_NAMES = names_in(Event)
_MOST_SHOWN, _MOST_LISTED = 20, 1000
Path = tuple[str | int, ...]


def read_events(content: bytes, media_type: str, max_events: int, latest: datetime) -> list[Event]:
    """Every event of the body, in its order.

    Args:
        latest: a timestamp after this is of a wrong clock.

    Raises:
        UnprocessableError: with pointers into the first wrong event; they start with its row, from 0, unless the body
            is one JSON object. A row of NDJSON is a line.
        TooLargeError: there are more than `max_events`.
        UnsupportedMediaTypeError: it is neither JSON nor NDJSON.
    """
    if media_type in NDJSON:
        placed = list(_of_lines(content, max_events))
    elif media_type == "application/json":
        placed = _of_json(content, max_events)
    else:
        raise UnsupportedMediaTypeError(
            "Send one event or a list of them as `application/json`, or one a line as `application/x-ndjson`."
        )
    for path, event in placed:
        check_time(path, event, latest)
    return [event for _, event in placed]


def _of_json(content: bytes, max_events: int) -> list[tuple[Path, Event]]:
    if not content.lstrip().startswith(b"["):
        return [((), _parse(_ONE, content, ()))]
    events = _parse(_list_of(max_events), content, ())
    if not events:
        raise _refused((), "There is no event in the body.")
    return [((row,), event) for row, event in enumerate(events)]


@cache
def _list_of(max_events: int) -> TypeAdapter[list[Event]]:
    """Reads at most so many: the first event too many ends it."""
    return TypeAdapter(Annotated[list[Event], Field(max_length=max_events), FailFast()])


def _of_lines(content: bytes, max_events: int) -> Iterator[tuple[Path, Event]]:
    count = 0
    for row, line in enumerate(BytesIO(content)):
        if line.strip():
            count += 1
            if count > max_events:
                raise _too_many(max_events)
            yield (row,), _parse(_ONE, line.rstrip(b"\n"), (row,))
    if not count:
        raise _refused((), "There is no event in the body.")


def _parse(kind: TypeAdapter[T], content: bytes, prefix: Path) -> T:
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        if error.error_count() > _MOST_LISTED:
            raise _refused(prefix, f"More than {_MOST_LISTED} fields are wrong.") from None
        found = error.errors(include_url=False)[:_MOST_SHOWN]
        if found[0]["type"] == "too_long" and not found[0]["loc"]:
            raise _too_many(found[0]["ctx"]["max_length"]) from None
        if found[0]["type"] == "json_invalid":
            raise _refused(prefix, f"This is not JSON: {found[0]['ctx']['error']}.") from None
        fields = field_problems(({**one, "loc": _within_event(one["loc"])} for one in found), names=_NAMES)
        row = prefix or tuple(step for step in found[0]["loc"][:1] if isinstance(step, int))
        fields = [field.model_copy(update={"pointer": pointer(row) + field.pointer}) for field in fields]
        raise UnprocessableError(summary_of(fields), errors=fields) from None


def _within_event(path: Path) -> Path:
    return path[1:] if path and isinstance(path[0], int) else path


def check_time(path: Path, event: Event, latest: datetime) -> None:
    """Refuse an event whose timestamp is after `latest` or before 1970.

    Raises:
        UnprocessableError: it is; `path` leads to the event.
    """
    if event.timestamp is None:
        return
    if event.timestamp > latest:
        now = latest.astimezone(UTC).isoformat(timespec="seconds")
        raise _refused((*path, "timestamp"), f"This lies in the future; the latest that is taken now is {now}.")
    if event.timestamp < _EARLIEST:
        raise _refused((*path, "timestamp"), "This is before 1970-01-01.")


def _too_many(max_events: int) -> TooLargeError:
    return TooLargeError(f"A request takes {max_events} events; these are more. Send them in several requests.")


def _refused(path: Path, message: str) -> UnprocessableError:
    field = FieldProblem(pointer=pointer(path), message=message)
    return UnprocessableError(summary_of([field]), errors=[field])
