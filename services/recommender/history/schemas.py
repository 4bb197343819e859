"""What a user or a session did, over HTTP."""

from datetime import datetime

from pydantic import BaseModel, Field


class PastEvent(BaseModel):
    """An event that is stored."""

    item_id: str = Field(examples=["1193"])
    type: str = Field(examples=["view"])
    timestamp: datetime
    user_id: str | None = Field(examples=["u-17"])
    session_id: str | None = Field(examples=["s-81"])
