"""What is written down of an answer: of a history that was sent along, nothing."""

from collections.abc import Sequence
from uuid import UUID

from libs.serving.recommendation.model import LoadedRecommender
from services.recommender.explanations.record import RecommendationRecord
from services.recommender.explanations.recorder import Recorder
from services.recommender.recommendations.schemas import Recommendation, RecommendationRequest


def write_down(
    recorder: Recorder,
    project_id: UUID,
    variant: str,
    model: LoadedRecommender,
    asked: RecommendationRequest,
    history: Sequence[str],
    answer: Recommendation,
) -> None:
    """Hand an answer to the recorder; whoever erases the user or the session reaches all of it."""
    identity, is_kept = model.identity, asked.user_id is not None or asked.session_id is not None
    assert identity.version_id is not None, "a deployment serves versions of the registry"
    reasons = ([why.model_dump(exclude_none=True) for why in one.reasons or () if is_kept] for one in answer.items)
    record = RecommendationRecord(
        request_id=answer.request_id,
        project_id=project_id,
        deployment=asked.model,
        arm=answer.arm if answer.arm != asked.model else None,
        stands_in_for=answer.stands_in_for,
        variant=variant,
        model=identity.model_name,
        version=identity.version,
        version_id=identity.version_id,
        user_id=asked.user_id,
        session_id=asked.session_id,
        strategy=answer.strategy,
        items=[
            {"item_id": one.item_id, "score": one.score, "rank": one.rank, "reasons": why}
            for one, why in zip(answer.items, reasons, strict=True)
        ],
        history=_read(model, history) if is_kept and answer.strategy == "model" else [],
    )
    recorder.record_recommendation(record)


def _read(model: LoadedRecommender, history: Sequence[str]) -> list[str]:
    numbers = model.catalogue.known(history)[-model.bundle.max_length :]
    return [model.catalogue.id(number) for number in numbers]
