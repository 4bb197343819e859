"""What one recommender process holds, and how routes get at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter

from libs.serving.deployments.runtime import Runtime
from libs.serving.recommendation.model import LoadedRecommender
from services.recommender.memory import Memory
from services.recommender.settings import RecommenderSettings


@dataclass(frozen=True, slots=True)
class Recommender:
    """The parts of one process.

    Attributes:
        arms: requests that other deployments than the one asked were to answer.
        shed: requests that were refused at the door.
    """

    settings: RecommenderSettings
    runtime: Runtime[LoadedRecommender]
    memory: Memory
    arms: Counter
    shed: Counter


def arms_counter(registry: CollectorRegistry) -> Counter:
    """Counts by deployment that was asked, arm, and whether the arm answered or was not loaded."""
    return Counter(
        "octavo_recommender_arms",
        "Requests that a deployment shares with another: answered by it, or by itself as the other is not loaded.",
        ("deployment", "arm", "outcome"),
        registry=registry,
    )


def shed_counter(registry: CollectorRegistry) -> Counter:
    """Counts requests that `services.recommender.admission` refuses."""
    return Counter(
        "octavo_recommender_shed", "Requests refused because too many waited for a thread already.", registry=registry
    )


async def _recommender(request: Request) -> Recommender:
    recommender: Recommender = request.app.state.recommender
    return recommender


Rec = Annotated[Recommender, Depends(_recommender)]
