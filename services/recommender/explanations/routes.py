"""/v1/recommendations/{request_id}/explanation"""

from uuid import UUID

from libs.web.problems import responses
from libs.web.routing import Router
from services.recommender.access import ReadsEvents
from services.recommender.explanations import service
from services.recommender.explanations.schemas import Explanation
from services.recommender.memory import Mem

router = Router(prefix="/v1/recommendations", tags=["recommendations"])


@router.get("/{request_id}/explanation", responses=responses(404, 503))
def explain_request(caller: ReadsEvents, memory: Mem, request_id: UUID) -> Explanation:
    """What was recommended in answer to a request, by which version, and why."""
    return service.explain(memory, caller.project_id, request_id)
