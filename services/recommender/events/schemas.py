"""Events over HTTP."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.web.field_errors import in_words
from services.recommender.ids import Id
from services.recommender.times import Timestamp

EventType = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$"),
    in_words("A type is 1 to 32 of a-z, 0-9, _ and -, and begins with a letter, like view or add-to-cart."),
]


class Event(BaseModel):
    """Something a user did to an item."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "example": {
                "event_id": "web-7f3a-1",
                "session_id": "s-81",
                "item_id": "1193",
                "timestamp": "2026-01-31T12:00:00Z",
            }
        },
    )

    item_id: Id
    user_id: Id | None = None
    session_id: Id | None = Field(default=None, description="At least one of `user_id` and `session_id` is needed.")
    type: EventType = Field(default="view", description="What was done: view, purchase, play …")
    timestamp: Timestamp | None = Field(
        default=None, description="When, with its offset from UTC; the time of arrival when left out."
    )
    event_id: Id | None = Field(
        default=None,
        description="Names this event in the project: sent again, it is not counted again. Left out, it always is.",
    )

    @model_validator(mode="after")
    def _is_of_someone(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("Say whose event this is: give user_id, session_id or both.")
        return self


class Ingested(BaseModel):
    """What became of the events of a request; all of them are stored when this answer comes."""

    accepted: int = Field(description="Events that are new.", examples=[2])
    duplicates: int = Field(description="Events whose `event_id` was stored before.", examples=[0])
