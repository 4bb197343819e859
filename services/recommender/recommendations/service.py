"""From a request to the answer: the history, the engine, and what is written down of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.exc import OperationalError

from libs.serving.deployments.problems import as_problem
from libs.serving.errors import InputProblem, RequestError, ServingError
from libs.serving.recommendation import engine
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.request import RankedItem, Recommendations
from libs.serving.recommendation.request import RecommendationRequest as EngineRequest
from libs.web.timing import span
from services.recommender.context import Recommender
from services.recommender.explanations.record import RecommendationRecord
from services.recommender.recommendations.history import history_of
from services.recommender.recommendations.schemas import (
    Asked,
    BatchAnswer,
    BatchAnswers,
    BatchProblem,
    BatchRequest,
    Item,
    ModelReading,
    Reason,
    Recommendation,
    RecommendationRequest,
    ScoreRequest,
    Scores,
    Similar,
    SimilarRequest,
)
from services.recommender.recommendations.sessions import session_of


def recommend(recommender: Recommender, project_id: UUID, asked: RecommendationRequest) -> Recommendation:
    """Answer one request, and have the answer written down.

    Raises:
        ModelNotLoaded: nothing that recommends is served under this name.
        RequestError: an event lies in the future, a filter is wrong, or there is nothing to go by and no fallback.
        sqlalchemy.exc.OperationalError: the history is in Postgres, which does not answer.
    """
    with recommender.runtime.hold(project_id, asked.model) as model:
        history, features = _history(recommender, project_id, model, asked)
        with span("compute"), _pointing_at(asked):
            found = engine.recommend(model, _engine_request(history, asked), features)
        answer = _answer(model, found)
        _write_down(recommender, project_id, model, asked, history, answer)
        return answer


def recommend_batch(recommender: Recommender, project_id: UUID, asked: BatchRequest) -> BatchAnswers:
    """Answer each request by itself."""
    return BatchAnswers(answers=[_answer_or_problem(recommender, project_id, one) for one in asked.requests])


def similar(recommender: Recommender, project_id: UUID, asked: SimilarRequest) -> Similar:
    """Items like one.

    Raises:
        ModelNotLoaded: as `recommend`.
        RequestError: the item is unknown, or a filter is wrong.
    """
    with recommender.runtime.hold(project_id, asked.model) as model:
        with span("compute"):
            found = engine.similar(model, asked.item_id, asked.k, asked.filters)
        return Similar(strategy="similar", items=_items(found), **_identity(model))


def score(recommender: Recommender, project_id: UUID, asked: ScoreRequest) -> Scores:
    """Order candidates by how well they come after the history.

    Raises:
        ModelNotLoaded, RequestError, sqlalchemy.exc.OperationalError: as `recommend`.
    """
    with recommender.runtime.hold(project_id, asked.model) as model:
        history, _ = _history(recommender, project_id, model, asked)
        with span("compute"), _pointing_at(asked):
            found = engine.score(model, history, asked.candidates, asked.user_id)
        known = model.catalogue.known
        return Scores(
            strategy="model",
            items=_items(found),
            unknown_items=len(history) - len(known(history)),
            unknown_candidates=[one for one in asked.candidates if not known([one])],
            **_identity(model),
        )


def _history(
    recommender: Recommender, project_id: UUID, model: LoadedRecommender, asked: Asked
) -> tuple[list[str], Floats | None]:
    if asked.session_id is not None:
        return session_of(model, recommender.memory, project_id, asked.session_id)
    return history_of(recommender.memory, project_id, asked), None


@contextmanager
def _pointing_at(asked: Asked) -> Iterator[None]:
    """The engine says what is wrong with a history; here it says where in the request that history came from."""
    try:
        yield
    except RequestError as error:
        problems = (
            InputProblem(asked.pointer, one.message) if one.pointer == "/history" else one for one in error.problems
        )
        raise RequestError(*problems) from error


def _engine_request(history: list[str], asked: RecommendationRequest) -> EngineRequest:
    return EngineRequest(
        history=history,
        k=asked.k,
        exclude_seen=asked.exclude_seen,
        exclude_items=asked.exclude_items,
        filters=asked.filters,
        diversity=asked.diversity,
        explain=asked.explain,
        fallback=asked.fallback,
        user_id=asked.user_id,
    )


def _answer_or_problem(recommender: Recommender, project_id: UUID, asked: RecommendationRequest) -> BatchAnswer:
    try:
        return BatchAnswer(result=recommend(recommender, project_id, asked))
    except (ServingError, OperationalError) as error:
        problem = as_problem(error)
        return BatchAnswer(
            problem=BatchProblem(status=problem.status, code=problem.problem_code, detail=problem.detail)
        )


def _answer(model: LoadedRecommender, found: Recommendations) -> Recommendation:
    told = found.explanation
    return Recommendation(
        request_id=uuid4(),
        strategy=found.strategy,
        items=_items(found.items),
        unknown_items=found.unknown_items,
        explanation=ModelReading(
            history=list(told.history), tensors={name: tensor.tolist() for name, tensor in told.tensors.items()}
        )
        if told
        else None,
        **_identity(model),
    )


def _identity(model: LoadedRecommender) -> dict[str, Any]:
    return {
        "model": model.identity.model_name,
        "version": model.identity.version,
        "digest": model.identity.digest,
    }


def _items(ranked: Sequence[RankedItem]) -> list[Item]:
    return [Item(item_id=one.id, score=one.score, rank=one.rank, reasons=_reasons(one)) for one in ranked]


def _reasons(item: RankedItem) -> list[Reason] | None:
    return [
        Reason(item_id=one.item_id, users_together=one.users_together, similarity=one.similarity)
        for one in item.reasons
    ] or None


def _write_down(
    recommender: Recommender,
    project_id: UUID,
    model: LoadedRecommender,
    asked: RecommendationRequest,
    history: list[str],
    answer: Recommendation,
) -> None:
    version_id = model.identity.version_id
    assert version_id is not None, "a deployment serves versions of the registry"
    record = RecommendationRecord(
        request_id=answer.request_id,
        project_id=project_id,
        deployment=asked.model,
        variant=recommender.runtime.alias_of(project_id, asked.model),
        model=model.identity.model_name,
        version=model.identity.version,
        version_id=version_id,
        user_id=asked.user_id,
        session_id=asked.session_id,
        strategy=answer.strategy,
        items=[
            {**one.model_dump(), "reasons": [why.model_dump() for why in one.reasons or ()]} for one in answer.items
        ],
        history=history[-model.bundle.max_length :],
    )
    recommender.memory.recorder.record_recommendation(record)
