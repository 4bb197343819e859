"""Which deployment answers a request: the one asked, or one that it shares its requests with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from libs.serving.errors import ModelNotLoaded
from libs.serving.recommendation.model import LoadedRecommender
from services.recommender.context import Recommender
from services.recommender.recommendations.schemas import Assigned


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers.

    Attributes:
        deployment: that was asked.
        arm: the deployment that answers in its place; None: itself.
        stands_in_for: the arm that should answer, and is not loaded.
    """

    deployment: str
    arm: str | None = None
    stands_in_for: str | None = None

    @property
    def answers(self) -> str:
        """The deployment that answers."""
        return self.arm or self.deployment


def route(recommender: Recommender, project_id: UUID, asked: Assigned, request_id: UUID | None = None) -> Route:
    """The way of one request: of one user, or one session, always the same while shares stay.

    Args:
        request_id: decides where nobody is named; None: then the deployment itself answers.
    """
    who = asked.who or (str(request_id) if request_id else None)
    arm = recommender.runtime.arm_of(project_id, asked.model, who) if who is not None else None
    return Route(asked.model, arm)


@contextmanager
def held(
    recommender: Recommender, project_id: UUID, way: Route, requests: int = 1
) -> Iterator[tuple[LoadedRecommender, Route]]:
    """The model that answers, loaded while the block lasts, and the way it went: past an arm that is not loaded.

    Raises:
        ModelNotLoaded: the deployment that was asked is needed, and is not loaded.
    """
    serve, counts = partial(recommender.runtime.serve, requests=requests), recommender.arms
    with ExitStack() as stack:
        if way.arm is not None:
            try:
                model = stack.enter_context(serve(project_id, way.arm))
            except ModelNotLoaded:
                counts.labels(way.deployment, way.arm, "not_loaded").inc(requests)
                way = replace(way, arm=None, stands_in_for=way.arm)
            else:
                counts.labels(way.deployment, way.arm, "answered").inc(requests)
                yield model, way
                return
        yield stack.enter_context(serve(project_id, way.deployment)), way
