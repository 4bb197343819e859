"""Why something was recommended, over HTTP."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ExplainedItem(BaseModel):
    """One recommended item."""

    rank: int = Field(examples=[1])
    item_id: str = Field(examples=["661"])
    score: float = Field(examples=[7.25])
    reasons: list[Any] = Field(
        description="As in the answer; empty if it was asked with `explain: none`, or with a history sent along."
    )


class Explanation(BaseModel):
    """What was recommended in answer to one request, by what, and why."""

    request_id: UUID
    created_at: datetime
    deployment: str = Field(description="That was asked.", examples=["shop"])
    arm: str = Field(description="The deployment that answered.", examples=["shop"])
    stands_in_for: str | None = Field(description="The arm that should have answered, and was not loaded.")
    variant: str = Field(description="The alias that answered; empty: a deployment of one fixed version.")
    model: str = Field(examples=["shop-hcrnn"])
    version: int = Field(examples=[3])
    user_id: str | None = Field(examples=["u-17"])
    session_id: str | None = Field(examples=["s-81"])
    strategy: str = Field(
        description="`model`, or the fallback that answered: `similar` or `popular`.", examples=["model"]
    )
    history: list[str] = Field(
        description="Item ids that the model read, oldest first; empty for a fallback and a history sent along.",
        examples=[["1193"]],
    )
    items: list[ExplainedItem]
