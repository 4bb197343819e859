"""Taking feedback in, and what it says of versions and variants."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Recommendation
from libs.registry.errors import nearest_names
from libs.web.problems import FieldProblem, NotFoundError, UnprocessableError
from services.recommender.explanations.service import written_down
from services.recommender.feedback import repository
from services.recommender.feedback.intervals import rate
from services.recommender.feedback.repository import Counts, Of, Outcome
from services.recommender.feedback.schemas import (
    FeedbackReport,
    FeedbackSummary,
    FeedbackTaken,
    VariantMetrics,
    VersionMetrics,
)
from services.recommender.memory import Memory

_KINDS = {"impressions": "impression", "clicks": "click", "conversions": "conversion"}


def take(memory: Memory, project_id: UUID, report: FeedbackReport) -> FeedbackTaken:
    """Store what is new in a report.

    Raises:
        NotFoundError: nothing was recommended under this request id, or it was dropped, erased or is too old.
        UnprocessableError: an item was not recommended in that answer; nothing is stored.
    """

    def store(session: Session, recommendation: Recommendation) -> FeedbackTaken:
        outcomes = _outcomes(report, [item["item_id"] for item in recommendation.items])
        recorded = repository.insert(session, recommendation.id, outcomes)
        return FeedbackTaken(recorded=recorded, duplicates=len(outcomes) - recorded)

    return written_down(memory, memory.writing, project_id, report.request_id, repository.lock_recommendation, store)


def _outcomes(report: FeedbackReport, recommended: list[str]) -> list[Outcome]:
    ranks = {item_id: rank for rank, item_id in enumerate(recommended, start=1)}
    sent = {kind: getattr(report, field) for field, kind in _KINDS.items()}
    unknown = [
        FieldProblem(pointer=f"/{field}/{place}", message="This item was not recommended in that answer.")
        for field, kind in _KINDS.items()
        for place, item_id in enumerate(sent[kind])
        if item_id not in ranks
    ]
    if unknown:
        raise UnprocessableError(unknown[0].message, code="item_not_recommended", errors=unknown[:20])
    sent["impression"] = [item_id for items in sent.values() for item_id in items]
    return [Outcome(kind, ranks[item_id], item_id) for kind, items in sent.items() for item_id in _once(items)]


def _once(items: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(items)


def one_of(model: str | None, deployment: str | None) -> Of:
    """Whose answers a request asks for.

    Raises:
        UnprocessableError: it names both, or neither.
    """
    if model is not None and deployment is None:
        return Of("model", model)
    if deployment is not None and model is None:
        return Of("deployment", deployment)
    wrong = "deployment" if model is not None else "model"
    message = "Give one of `model` and `deployment`."
    fields = [FieldProblem(pointer=f"/{wrong}", message=message, location="query")]
    raise UnprocessableError(message, errors=fields)


def summarise(memory: Memory, project_id: UUID, of: Of, days: int, k: int) -> FeedbackSummary:
    """Online metrics by version and by variant; what exists and nobody asked has none.

    Raises:
        NotFoundError: there is neither such a model or deployment nor an answer of it.
    """
    with memory.reading() as session:
        by_version = repository.counts_by(session, project_id, of, days, k, repository.VERSION)
        if not by_version:
            _check_exists(session, project_id, of)
        sizes = repository.catalogue_sizes(session, [version_id for (_, _, version_id), _ in by_version])
        by_variant = repository.counts_by(session, project_id, of, days, k, repository.VARIANT)
    versions = [
        VersionMetrics(
            model=model,
            version=version,
            coverage=counts.items_shown / sizes[version_id] if version_id in sizes else None,
            **_metrics(counts),
        )
        for (model, version, version_id), counts in by_version
    ]
    variants = [
        VariantMetrics(
            deployment=deployment, arm=arm, variant=variant, model=model, stands_in_for=missing, **_metrics(counts)
        )
        for (deployment, arm, variant, model, missing), counts in by_variant
    ]
    return FeedbackSummary(
        **{"model": None, "deployment": None, of.kind: of.name}, days=days, k=k, versions=versions, variants=variants
    )


def _check_exists(session: Session, project_id: UUID, of: Of) -> None:
    names = repository.names(session, project_id)
    if of.name in names[of.kind]:
        return
    other = "deployment" if of.kind == "model" else "model"
    message = f"There is no {of.kind} {of.name!r}, and no answer of one."
    if of.name in names[other]:
        message += f" There is a {other} of that name: ask with `{other}={of.name}`."
    elif nearest := nearest_names(of.name, names[of.kind]):
        message += f" Did you mean {' or '.join(repr(name) for name in nearest)}?"
    raise NotFoundError(message, code=f"{of.kind}_not_found")


def _metrics(counts: Counts) -> dict[str, Any]:
    return {
        "requests": counts.requests,
        "ctr": rate(counts.clicked, counts.shown),
        "conversion_rate": rate(counts.converted, counts.shown),
        "hit_rate": rate(counts.requests_hit, counts.requests_shown),
        "items_shown": counts.items_shown,
    }
