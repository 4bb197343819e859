"""When something happened, as senders write it."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from libs.web.field_errors import in_words

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _is_written_out(value: Any) -> Any:
    """Refuse numbers, as text too: of seconds or milliseconds pydantic would guess which."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("no date")
    return value


Timestamp = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(_is_written_out),
    in_words("Write the time as ISO 8601 with its offset from UTC, like 2026-01-31T12:00:00Z."),
]
