"""Which deployment answers a request: the one asked, or one that it shares its requests with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from libs.serving.deployments.metrics import Tally
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
    recommender: Recommender, project_id: UUID, way: Route, tally: Tally | None = None
) -> Iterator[tuple[LoadedRecommender, Route]]:
    """The model that answers, loaded while the block lasts, and the way it went: past an arm that is not loaded.

    Args:
        tally: of the requests that it answers; None: there is one.

    Raises:
        ModelNotLoaded: the deployment that was asked is needed, and is not loaded.
    """
    tally = tally or Tally()
    serve = partial(recommender.runtime.serve, tally=tally)
    with ExitStack() as counted, ExitStack() as stack:  # counted last, when the tally knows how the block ended

        def count(outcome: str, arm: str) -> None:
            recommender.arms.labels(way.deployment, arm, outcome).inc(tally.counted)

        if (arm := way.arm) is not None:
            try:
                model = stack.enter_context(serve(project_id, arm))
            except ModelNotLoaded:
                counted.callback(count, "not_loaded", arm)
                way = replace(way, arm=None, stands_in_for=arm)
            else:
                counted.callback(count, "answered", arm)
                yield model, way
                return
        try:
            model = stack.enter_context(serve(project_id, way.deployment))
        except ModelNotLoaded as error:
            tally.all_failed(error)
            raise
        yield model, way
