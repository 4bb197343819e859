"""What is written down of an answer."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RecommendationRecord:
    """One answer of the recommender.

    Attributes:
        request_id: of this answer alone, made by the service (`uuid4`); each answer of a batch has its own.
        deployment: that was asked.
        arm: the deployment that answered in its place; None: itself.
        stands_in_for: the arm that should have answered, and was not loaded.
        variant: the alias that answered; empty when the deployment is of one fixed version.
        items: best first, each with `item_id`, `score` and `reasons` (a list); JSON.
        history: item ids the model read, oldest first; empty where a fallback answered, and, as the reasons, where the
            history was sent along with the request: that is not kept.
    """

    request_id: UUID
    project_id: UUID
    deployment: str
    variant: str
    model: str
    version: int
    version_id: UUID
    user_id: str | None
    session_id: str | None
    strategy: str
    items: list[dict[str, Any]]
    history: list[str]
    arm: str | None = None
    stands_in_for: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
