"""Several requests at once: each is answered or refused by itself, and those of one model are computed together."""

from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.serving.deployments.problems import as_problem
from libs.serving.errors import DeadlineExceeded, RequestError, ServingError
from libs.serving.recommendation import engine
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.request import RecommendationRequest as EngineRequest
from libs.serving.recommendation.request import Recommendations
from libs.web.problems import ProblemError
from libs.web.timing import span
from services.recommender.context import Recommender
from services.recommender.recommendations.schemas import (
    BatchAnswer,
    BatchAnswers,
    BatchProblem,
    BatchRequest,
    RecommendationRequest,
    WrongRequest,
)
from services.recommender.recommendations.service import delivered, engine_request, history_and_features, pointed

_EXPECTED = (ServingError, OperationalError, PoolTimeoutError)
Answers = dict[int, BatchAnswer]


class _Placed(NamedTuple):
    """A request, its place in the batch, and what the engine is asked once the history is read."""

    place: int
    asked: RecommendationRequest
    wanted: EngineRequest


def recommend_batch(recommender: Recommender, project_id: UUID, batch: BatchRequest) -> BatchAnswers:
    """Answer each request, or say what is wrong with it; one that is wrong stops no other."""
    deadline = monotonic() + recommender.settings.batch_timeout_s
    answers: Answers = {}
    by_model: dict[str, list[tuple[int, RecommendationRequest]]] = {}
    for place, asked in enumerate(batch.requests):
        if isinstance(asked, WrongRequest):
            answers[place] = _refused(asked.problem)
        else:
            by_model.setdefault(asked.model, []).append((place, asked))
    for name, requests in by_model.items():
        try:
            with recommender.runtime.hold(project_id, name) as model:
                answers |= _of_one_model(recommender, project_id, model, requests, deadline)
        except _EXPECTED as error:
            answers |= {place: _refused(as_problem(error)) for place, _ in requests}
    return BatchAnswers(answers=[answers[place] for place in range(len(batch.requests))])


def _of_one_model(
    recommender: Recommender,
    project_id: UUID,
    model: LoadedRecommender,
    requests: Sequence[tuple[int, RecommendationRequest]],
    deadline: float,
) -> Answers:
    answers: Answers = {}
    together: list[_Placed] = []

    def answer(placed: _Placed, found: Recommendations | RequestError) -> None:
        if isinstance(found, RequestError):
            answers[placed.place] = _refused(as_problem(pointed(placed.asked, found)))
        else:
            result = delivered(recommender, project_id, model, placed.asked, placed.wanted.history, found)
            answers[placed.place] = BatchAnswer(result=result)

    for place, asked in requests:
        try:
            if monotonic() > deadline:
                raise DeadlineExceeded("The batch took too long before this request; send fewer at once.")
            history, features = history_and_features(recommender, project_id, model, asked)
            placed = _Placed(place, asked, engine_request(history, asked))
            if features is None:
                together.append(placed)
            else:
                answer(placed, engine.recommend(model, placed.wanted, features))
        except _EXPECTED as error:
            answers[place] = _refused(as_problem(error))
    with span("compute"):
        found = engine.recommend_many(model, [placed.wanted for placed in together])
    for placed, one in zip(together, found, strict=True):
        answer(placed, one)
    return answers


def _refused(problem: ProblemError) -> BatchAnswer:
    return BatchAnswer(
        problem=BatchProblem(
            status=problem.status, code=problem.problem_code, detail=problem.detail, errors=problem.errors or None
        )
    )
