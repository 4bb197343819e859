"""Ids that senders choose: of items, users, sessions, events."""

from typing import Annotated

from pydantic import StringConstraints

MAX_ID_CHARS = 200
Id = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")
]
