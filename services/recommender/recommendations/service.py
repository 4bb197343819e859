"""From a request to the answer: the history, the engine, and what is written down of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from libs.serving.errors import InputProblem, RequestError
from libs.serving.recommendation import engine
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.request import MOST_EVENTS, RankedItem, Recommendations
from libs.serving.recommendation.request import RecommendationRequest as EngineRequest
from libs.web.timing import span
from services.recommender.context import Recommender
from services.recommender.events import service as events
from services.recommender.events.schemas import Event
from services.recommender.memory import Memory
from services.recommender.recommendations.arms import Route, held, route
from services.recommender.recommendations.history import history_of
from services.recommender.recommendations.recording import write_down
from services.recommender.recommendations.schemas import (
    Asked,
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
from services.recommender.sessions.store import SessionEvent

_READ_FOR_ONE_KNOWN = 10
"""Of a user's newest events so many are read for each that the model takes: it may not know all of their items."""


def recommend(recommender: Recommender, project_id: UUID, asked: RecommendationRequest) -> Recommendation:
    """Answer one request, and have the answer written down.

    Raises:
        ModelNotLoaded: nothing that recommends is served under this name.
        RequestError: an event lies in the future, a filter is wrong, or there is nothing to go by and no fallback.
        UnprocessableError: an event to append lies in the future, or before 1970.
        sqlalchemy.exc.OperationalError: the history is in Postgres, which does not answer.
    """
    request_id = uuid4()
    with held(recommender, project_id, route(recommender, project_id, asked, request_id)) as (model, way):
        history, features = history_and_features(recommender, project_id, model, asked)
        with span("compute"), _pointing_at(asked):
            found = engine.recommend(model, engine_request(history, asked), features)
        return delivered(recommender, project_id, model, Delivery(request_id, way, asked, history), found)


def similar(recommender: Recommender, project_id: UUID, asked: SimilarRequest) -> Similar:
    """Items like one; they are of nobody, so that the deployment itself answers unless `assign_by` says for whom.

    Raises:
        ModelNotLoaded: as `recommend`.
        RequestError: the item is unknown, or a filter is wrong.
    """
    with held(recommender, project_id, route(recommender, project_id, asked)) as (model, way):
        with span("compute"):
            found = engine.similar(model, asked.item_id, asked.k, asked.filters)
        return Similar(strategy="similar", items=_items(found.items), by=found.by, **_identity(model, way))


def score(recommender: Recommender, project_id: UUID, asked: ScoreRequest) -> Scores:
    """Order candidates by how well they come after the history.

    Raises:
        ModelNotLoaded, RequestError, sqlalchemy.exc.OperationalError: as `recommend`.
    """
    with held(recommender, project_id, route(recommender, project_id, asked, uuid4())) as (model, way):
        history, features = history_and_features(recommender, project_id, model, asked)
        with span("compute"), _pointing_at(asked):
            found = engine.score(model, history, asked.candidates, asked.user_id, features)
        known = model.catalogue.known
        return Scores(
            strategy="model",
            items=_items(found),
            unknown_items=len(history) - len(known(history)),
            unknown_candidates=[one for one in asked.candidates if not known([one])],
            **_identity(model, way),
        )


def history_and_features(
    recommender: Recommender, project_id: UUID, model: LoadedRecommender, asked: Asked
) -> tuple[list[str], Floats | None]:
    """Item ids, oldest first, and the features after them where the state of a session has them.

    Raises:
        RequestError, UnprocessableError, sqlalchemy.exc.OperationalError: as `recommend`.
    """
    if asked.session_id is not None:
        new = _appended(recommender.memory, project_id, asked)
        return session_of(model, recommender.memory, project_id, asked.session_id, new)
    return history_of(recommender.memory, project_id, asked, _most_events(model, asked)), None


def _appended(memory: Memory, project_id: UUID, asked: Asked) -> list[SessionEvent]:
    """What the request brings of its session, stored now."""
    if not isinstance(asked, RecommendationRequest) or asked.append is None:
        return []
    whole = [Event(session_id=asked.session_id, **event.model_dump()) for event in asked.append]
    return events.store(memory, project_id, whole, "append")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an answer is written down with."""

    request_id: UUID
    way: Route
    asked: RecommendationRequest
    history: Sequence[str]


def delivered(
    recommender: Recommender, project_id: UUID, model: LoadedRecommender, delivery: Delivery, found: Recommendations
) -> Recommendation:
    """The answer, on its way to be written down."""
    answer = _answer(model, delivery, found)
    variant = recommender.runtime.alias_of(project_id, answer.arm)
    write_down(recommender.memory.recorder, project_id, variant, model, delivery.asked, delivery.history, answer)
    return answer


def pointed(asked: Asked, error: RequestError) -> RequestError:
    """The engine says what is wrong with a history; here it is said where in the request that history came from."""
    problems = (
        InputProblem(asked.pointer, one.message) if one.pointer == "/history" else one for one in error.problems
    )
    return RequestError(*problems)


def _most_events(model: LoadedRecommender, asked: Asked) -> int:
    """How many events of a user are read: all that may be where they are left out, else what the model may need."""
    if isinstance(asked, RecommendationRequest):
        exclude_seen = model.bundle.exclude_seen if asked.exclude_seen is None else asked.exclude_seen
        if exclude_seen:
            return MOST_EVENTS
    return min(MOST_EVENTS, _READ_FOR_ONE_KNOWN * model.bundle.max_length)


@contextmanager
def _pointing_at(asked: Asked) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        raise pointed(asked, error) from error


def engine_request(history: list[str], asked: RecommendationRequest) -> EngineRequest:
    """What the engine is asked."""
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


def _answer(model: LoadedRecommender, delivery: Delivery, found: Recommendations) -> Recommendation:
    told = found.explanation
    return Recommendation(
        request_id=delivery.request_id,
        strategy=found.strategy,
        items=_items(found.items),
        unknown_items=found.unknown_items,
        explanation=ModelReading(
            history=list(told.history), tensors={name: tensor.tolist() for name, tensor in told.tensors.items()}
        )
        if told
        else None,
        **_identity(model, delivery.way),
    )


def _identity(model: LoadedRecommender, way: Route) -> dict[str, Any]:
    return {
        "arm": way.answers,
        "stands_in_for": way.stands_in_for,
        "model": model.identity.model_name,
        "version": model.identity.version,
        "digest": model.identity.digest,
    }


def _items(ranked: Sequence[RankedItem]) -> list[Item]:
    return [Item(item_id=one.id, score=one.score, rank=one.rank, reasons=_reasons(one)) for one in ranked]


def _reasons(item: RankedItem) -> list[Reason] | None:
    return [
        Reason(
            item_id=one.item_id,
            users_together=one.users_together,
            similarity=one.similarity,
            features=dict(one.features) if one.features is not None else None,
        )
        for one in item.reasons
    ] or None
