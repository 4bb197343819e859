"""Requests that are there at the same time are answered together: one change of thread, one pass over the vectors.

Only those whose history was sent along and that want nothing but a ranking: they wait for nothing but the processor,
and each takes about as long as any other.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from libs.serving.gathering import Gathering
from libs.web.timing import span
from services.recommender.context import Recommender
from services.recommender.recommendations import service
from services.recommender.recommendations.batch import recommend_batch
from services.recommender.recommendations.schemas import (
    BatchAnswer,
    BatchRequest,
    Recommendation,
    RecommendationRequest,
)


class Plain(NamedTuple):
    """A request that may be answered with others."""

    recommender: Recommender
    project_id: UUID
    asked: RecommendationRequest


PlainGathering = Gathering[Plain, BatchAnswer]


async def _together(request: Request) -> PlainGathering:
    together: PlainGathering = request.app.state.together
    return together


Together = Annotated[PlainGathering, Depends(_together)]


def gathering() -> PlainGathering:
    """What an application puts at `app.state.together`."""
    return Gathering(_answers)


async def recommend(
    together: PlainGathering, recommender: Recommender, project_id: UUID, asked: RecommendationRequest
) -> Recommendation:
    """Answer one request, with others where that saves work; see `service.recommend`."""
    if _is_plain(asked):
        with span("compute"):
            answer = await together.ask(Plain(recommender, project_id, asked))
        if answer.result is not None:
            return answer.result
    # One that is refused among others is asked again alone, and raises what it raises everywhere.
    return await run_in_threadpool(service.recommend, recommender, project_id, asked)


def _is_plain(asked: RecommendationRequest) -> bool:
    is_sent = asked.events is not None or asked.items is not None
    return is_sent and asked.filters is None and asked.explain == "none" and asked.diversity == 0


def _answers(gathered: Sequence[Plain]) -> list[BatchAnswer]:
    answers: dict[int, BatchAnswer] = {}
    places: dict[UUID, list[int]] = {}
    for place, plain in enumerate(gathered):
        places.setdefault(plain.project_id, []).append(place)
    for project_id, of_project in places.items():
        batch = BatchRequest.model_construct(requests=[gathered[place].asked for place in of_project])
        found = recommend_batch(gathered[0].recommender, project_id, batch, asked_again=True).answers
        answers.update(zip(of_project, found, strict=True))
    return [answers[place] for place in range(len(gathered))]
