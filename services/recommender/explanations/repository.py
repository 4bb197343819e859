"""Rows of what was recommended."""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from libs.database.tables import Recommendation
from services.recommender.explanations.record import RecommendationRecord


def insert(session: Session, records: Sequence[RecommendationRecord]) -> None:
    """Write down answers; one that is there already stays as it is."""
    statement = upsert(Recommendation).on_conflict_do_nothing(index_elements=["request_id"])
    session.execute(statement, [asdict(record) for record in records])


def find(session: Session, project_id: UUID, request_id: UUID) -> Recommendation | None:
    """What was recommended in answer to this request of the project."""
    found = select(Recommendation).where(
        Recommendation.request_id == request_id, Recommendation.project_id == project_id
    )
    return session.scalar(found)
