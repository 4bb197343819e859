"""Rows of what was recommended."""

from collections.abc import Sequence
from dataclasses import fields
from uuid import UUID

from sqlalchemy import JSON, Text, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert as insert_into
from sqlalchemy.orm import Session

from libs.database.tables import Recommendation
from services.recommender.explanations.record import RecommendationRecord

_COLUMNS = [field.name for field in fields(RecommendationRecord)]
# The records are JSON already, and Postgres reads it: taking them apart here and putting them together again took a
# fifth of the recommender's time.
_RECORDS = func.json_populate_recordset(
    literal_column("CAST(NULL AS recommendations)"), cast(bindparam("records", type_=Text), JSON)
).table_valued(*_COLUMNS)
_INSERT = (
    insert_into(Recommendation.metadata.tables["recommendations"])
    .from_select(_COLUMNS, select(_RECORDS))
    .on_conflict_do_nothing(index_elements=["request_id"])
)


def insert(session: Session, records: Sequence[bytes]) -> None:
    """Write down answers, each a `RecommendationRecord` as JSON; one that is there already stays as it is."""
    session.execute(_INSERT, {"records": f"[{b','.join(records).decode()}]"})


def find(session: Session, project_id: UUID, request_id: UUID) -> Recommendation | None:
    """What was recommended in answer to this request of the project."""
    found = select(Recommendation).where(
        Recommendation.request_id == request_id, Recommendation.project_id == project_id
    )
    return session.scalar(found)
