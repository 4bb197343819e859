"""What one recommender process holds, and how routes get at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from libs.serving.deployments.runtime import Runtime
from libs.serving.recommendation.model import LoadedRecommender
from services.recommender.memory import Memory
from services.recommender.settings import RecommenderSettings


@dataclass(frozen=True, slots=True)
class Recommender:
    """The parts of one process."""

    settings: RecommenderSettings
    runtime: Runtime[LoadedRecommender]
    memory: Memory


async def _recommender(request: Request) -> Recommender:
    recommender: Recommender = request.app.state.recommender
    return recommender


Rec = Annotated[Recommender, Depends(_recommender)]
