"""/v1/recommendations, /v1/similar and /v1/score

What computes does so in worker threads, and the event loop stays free.
"""

from libs.serving.deployments.access import MayInfer
from libs.web.auth import Scope
from libs.web.problems import ForbiddenError, responses
from libs.web.routing import Router
from services.recommender.context import Rec
from services.recommender.recommendations import batch, service, together
from services.recommender.recommendations.schemas import (
    BatchAnswers,
    BatchRequest,
    Recommendation,
    RecommendationRequest,
    ScoreRequest,
    Scores,
    Similar,
    SimilarRequest,
)
from services.recommender.recommendations.together import Together

router = Router(prefix="/v1", tags=["recommendations"])
_PROBLEMS = responses(404, 413, 415, 503, 504)


@router.post("/recommendations", responses=_PROBLEMS, response_model_exclude_none=True)
async def recommend(
    body: RecommendationRequest, recommender: Rec, caller: MayInfer, gathering: Together
) -> Recommendation:
    """The best next items for a user, a session, or a history sent along.

    `strategy` says what answered: the model, or the fallback where no item of the history that the model
    reads had events in training.
    """
    if body.append is not None and not caller.may(Scope.EVENTS_WRITE):
        raise ForbiddenError(f"Appending events needs a key with the scope {Scope.EVENTS_WRITE}.")
    return await together.recommend(gathering, recommender, caller.project_id, body)


@router.post("/recommendations/batch", responses=_PROBLEMS, response_model_exclude_none=True)
def recommend_batch(body: BatchRequest, recommender: Rec, caller: MayInfer) -> BatchAnswers:
    """Answers to several requests, in their order; one that is wrong or cannot be answered stops no other.

    Those of one deployment are computed together.
    """
    return batch.recommend_batch(recommender, caller.project_id, body)


@router.post("/similar", responses=_PROBLEMS, response_model_exclude_none=True)
def similar(body: SimilarRequest, recommender: Rec, caller: MayInfer) -> Similar:
    """Items that the model holds for alike."""
    return service.similar(recommender, caller.project_id, body)


@router.post("/score", responses=_PROBLEMS, response_model_exclude_none=True)
def score(body: ScoreRequest, recommender: Rec, caller: MayInfer) -> Scores:
    """Order candidates by how well they come next."""
    return service.score(recommender, caller.project_id, body)
