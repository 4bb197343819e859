"""/v1/feedback"""

from typing import Annotated

from fastapi import Query

from libs.web.problems import responses
from libs.web.routing import Router
from services.recommender.access import ReadsEvents, WritesEvents
from services.recommender.feedback import service
from services.recommender.feedback.schemas import FeedbackReport, FeedbackSummary, FeedbackTaken
from services.recommender.ids import Id
from services.recommender.memory import Mem

router = Router(prefix="/v1/feedback", tags=["events"])


@router.post("", responses=responses(404, 503))
def post_feedback(caller: WritesEvents, memory: Mem, body: FeedbackReport) -> FeedbackTaken:
    """Tell which recommended items were shown, clicked and bought, by the request id of the answer they were in.

    Feedback does not change what is recommended: clicks and purchases that should are sent to `/v1/events` too.
    """
    return service.take(memory, caller.project_id, body)


@router.get("/summary", responses=responses(404, 503))
def feedback_summary(
    caller: ReadsEvents,
    memory: Mem,
    model: Annotated[Id | None, Query(description="Name of a model: its answers, under any deployment.")] = None,
    deployment: Annotated[
        Id | None, Query(description="Name of a deployment: what it was asked, whichever arm answered.")
    ] = None,
    days: Annotated[int, Query(ge=1, le=366, description="Answers of the last so many days.")] = 30,
    k: Annotated[int, Query(ge=1, le=200, description="Of HR@k.")] = 10,
) -> FeedbackSummary:
    """Online metrics of a model, or of a deployment: CTR, conversions, HR@k and coverage, by version and by variant.

    Give one of `model` and `deployment`. The variants of a deployment that shares its requests are the arms of an
    A/B test; answers that were given for an arm that was not loaded stand apart.
    """
    return service.summarise(memory, caller.project_id, service.one_of(model, deployment), days, k)
