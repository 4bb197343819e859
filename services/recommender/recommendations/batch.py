"""Several requests at once: each is answered or refused by itself, and those of one model are computed together."""

from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.serving.deployments.metrics import Tally
from libs.serving.deployments.problems import as_problem
from libs.serving.errors import DeadlineExceeded, RequestError, ServingError
from libs.serving.recommendation import engine
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.request import RecommendationRequest as EngineRequest
from libs.serving.recommendation.request import Recommendations
from libs.web.problems import ProblemError
from libs.web.timing import span
from services.recommender.context import Recommender
from services.recommender.problems import PROBLEMS
from services.recommender.recommendations.arms import Route, held, route
from services.recommender.recommendations.schemas import (
    BatchAnswer,
    BatchAnswers,
    BatchProblem,
    BatchRequest,
    RecommendationRequest,
    WrongRequest,
)
from services.recommender.recommendations.service import (
    Delivery,
    delivered,
    engine_request,
    history_and_features,
    pointed,
)

_EXPECTED = (ServingError, OperationalError, PoolTimeoutError)
_EVENTS_AT_ONCE = 200_000
"""With more events together, histories are answered before further ones are read: what a batch holds is bounded."""

Answers = dict[int, BatchAnswer]


class _Placed(NamedTuple):
    """A request and its place in the batch."""

    place: int
    request_id: UUID
    asked: RecommendationRequest


class _Read(NamedTuple):
    """A request, and what the engine is asked now that the history is read."""

    placed: _Placed
    wanted: EngineRequest


def recommend_batch(
    recommender: Recommender, project_id: UUID, batch: BatchRequest, *, asked_again: bool = False
) -> BatchAnswers:
    """Answer each request, or say what is wrong with it; one that is wrong stops no other.

    Args:
        asked_again: those that are refused are asked again alone, and are counted only then.
    """
    deadline = monotonic() + recommender.settings.batch_timeout_s
    answers: Answers = {}
    by_way: dict[Route, list[_Placed]] = {}
    for place, asked in enumerate(batch.requests):
        if isinstance(asked, WrongRequest):
            answers[place] = _refused(asked.problem)
        else:
            placed = _Placed(place, uuid4(), asked)
            by_way.setdefault(route(recommender, project_id, asked, placed.request_id), []).append(placed)
    for wanted, requests in by_way.items():
        tally = Tally(len(requests), asked_again)
        try:
            with held(recommender, project_id, wanted, tally) as (model, way):
                answers |= _of_one_model(recommender, project_id, model, way, requests, deadline, tally)
        except _EXPECTED as error:
            answers |= {one.place: _refused(as_problem(error, PROBLEMS)) for one in requests}
    return BatchAnswers(answers=[answers[place] for place in range(len(batch.requests))])


def _of_one_model(
    recommender: Recommender,
    project_id: UUID,
    model: LoadedRecommender,
    way: Route,
    requests: Sequence[_Placed],
    deadline: float,
    tally: Tally,
) -> Answers:
    answers: Answers = {}
    together: list[_Read] = []

    def answer(read: _Read, found: Recommendations | RequestError) -> None:
        placed = read.placed
        if isinstance(found, RequestError):
            tally.failed(found)
            answers[placed.place] = _refused(as_problem(pointed(placed.asked, found), PROBLEMS))
        else:
            delivery = Delivery(placed.request_id, way, placed.asked, read.wanted.history)
            answers[placed.place] = BatchAnswer(result=delivered(recommender, project_id, model, delivery, found))

    def compute() -> None:
        began = monotonic()
        with span("compute"):
            found = engine.recommend_many(model, [read.wanted for read in together])
        if len(together) > 1:  # one alone goes through the model's queue, which is watched
            recommender.runtime.metrics.batch(project_id, way.answers, len(together), (), monotonic() - began)
        for read, one in zip(together, found, strict=True):
            answer(read, one)
        together.clear()

    for placed in requests:
        try:
            if monotonic() > deadline:
                raise DeadlineExceeded("The batch took too long before this request; send fewer at once.")
            history, features = history_and_features(recommender, project_id, model, placed.asked)
            read = _Read(placed, engine_request(history, placed.asked))
            if features is None:
                together.append(read)
            else:
                answer(read, engine.recommend(model, read.wanted, features))
        except _EXPECTED as error:
            tally.failed(error)
            answers[placed.place] = _refused(as_problem(error, PROBLEMS))
        if sum(len(read.wanted.history) for read in together) > _EVENTS_AT_ONCE:
            compute()
    compute()
    return answers


def _refused(problem: ProblemError) -> BatchAnswer:
    return BatchAnswer(
        problem=BatchProblem(
            status=problem.status, code=problem.problem_code, detail=problem.detail, errors=problem.errors or None
        )
    )
