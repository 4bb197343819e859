"""Rows of feedback, and what they add up to."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, distinct, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from libs.database.tables import Deployment, Feedback, Model, ModelVersion, Recommendation


class Outcome(NamedTuple):
    """One item and what became of it."""

    kind: str
    rank: int
    item_id: str


def lock_recommendation(session: Session, project_id: UUID, request_id: UUID) -> Recommendation | None:
    """What was recommended, kept from being deleted until the transaction ends."""
    found = select(Recommendation).where(
        Recommendation.request_id == request_id, Recommendation.project_id == project_id
    )
    return session.scalar(found.with_for_update(read=True, key_share=True))


def insert(session: Session, recommendation_id: int, outcomes: Sequence[Outcome]) -> int:
    """Store the outcomes that are new; how many these are."""
    rows = [{"recommendation_id": recommendation_id, **outcome._asdict()} for outcome in outcomes]
    statement = upsert(Feedback).values(rows).on_conflict_do_nothing().returning(Feedback.rank)
    return len(session.scalars(statement).all())


class Counts(NamedTuple):
    """What was counted for one group of answers."""

    requests: int
    requests_shown: int
    requests_hit: int
    shown: int
    clicked: int
    converted: int
    items_shown: int


class Of(NamedTuple):
    """Whose answers: a model's, or those that one deployment was asked for, whichever arm answered."""

    kind: Literal["model", "deployment"]
    name: str


_NAMES = {"model": Recommendation.model, "deployment": Recommendation.deployment}
VERSION = (Recommendation.model, Recommendation.version, Recommendation.version_id)
VARIANT = (
    Recommendation.deployment,
    func.coalesce(Recommendation.arm, Recommendation.deployment),
    Recommendation.variant,
    Recommendation.model,
    Recommendation.stands_in_for,
)


def counts_by(
    session: Session, project_id: UUID, of: Of, days: int, k: int, group: Sequence[SQLColumnExpression[Any]]
) -> list[tuple[tuple[Any, ...], Counts]]:
    """Counts of the answers of the last `days`, for each value of the columns of `group`, in their order."""
    query = (
        select(*group, *_counts(k))
        .outerjoin(Feedback, Feedback.recommendation_id == Recommendation.id)
        .where(
            Recommendation.project_id == project_id,
            _NAMES[of.kind] == of.name,
            Recommendation.created_at > func.now() - timedelta(days=days),
        )
        .group_by(*group)
        .order_by(*group)
    )
    rows = session.execute(query).all()
    return [(tuple(row[: len(group)]), Counts(*row[len(group) :])) for row in rows]


def names(session: Session, project_id: UUID) -> dict[str, Sequence[str]]:
    """The names of what there is now, by kind."""
    models = select(Model.name).where(Model.project_id == project_id, Model.deleted_at.is_(None))
    deployments = select(Deployment.name).where(Deployment.project_id == project_id)
    return {"model": session.scalars(models).all(), "deployment": session.scalars(deployments).all()}


def _counts(k: int) -> list[ColumnElement[int]]:
    """A row of the join is one outcome of one answer, or an answer without any."""
    answers, shown = func.count(distinct(Recommendation.id)), Feedback.kind == "impression"
    clicked, converted = Feedback.kind == "click", Feedback.kind == "conversion"
    return [
        answers,
        answers.filter(shown),
        answers.filter(clicked, Feedback.rank <= k),
        func.count().filter(shown),
        func.count().filter(clicked),
        func.count().filter(converted),
        func.count(distinct(Feedback.item_id)).filter(shown),
    ]


def catalogue_sizes(session: Session, version_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Version → how many items it knows; versions that were deleted are left out."""
    size = ModelVersion.bundle["items"].as_integer()
    found = select(ModelVersion.id, size).where(ModelVersion.id.in_(version_ids), size.is_not(None))
    return dict(session.execute(found).all())
