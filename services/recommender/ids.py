"""Ids that senders choose: of items, users, sessions, events."""

from typing import Annotated

from pydantic import StringConstraints

from libs.web.field_errors import in_words

MAX_ID_CHARS = 200
Id = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$"),
    in_words(f"An id is text of 1 to {MAX_ID_CHARS} characters, without control characters."),
]
