"""/v1/job-groups: one job over several seeds and hyper-parameters, as one table"""

from uuid import UUID

from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.jobs import wishes
from libs.web.idempotency import Answer
from libs.web.json_text import check_storable
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.idempotency.once import Creates
from services.gateway.job_groups import service
from services.gateway.job_groups.schemas import Group, GroupRequest
from services.gateway.jobs.routes import Reader, Writer

router = Router(prefix="/v1/job-groups", tags=["jobs"])


@router.post("", status_code=202, response_model=Group, responses=responses(409))
def submit_group(caller: Writer, body: GroupRequest, creation: Creates) -> JSONResponse:
    """Submit several jobs at once: all of them, or none when one is not valid."""
    check_storable({"jobs": body.jobs, "job": body.job, "grid": body.grid})
    specs = service.read_specs(body)

    def work(session: Session) -> Answer:
        group = service.submit_group(session, caller.project_id, specs)
        return Answer(202, group.model_dump(mode="json"), {"Location": f"/v1/job-groups/{group.id}"})

    return creation.once(caller, work)


@router.get("/{group_id}", responses=responses(404))
def get_group(caller: Reader, gateway: Gw, group_id: UUID) -> Group:
    """A group as one table: each job's state, what sets it apart, and its final figures."""
    with gateway.reading() as session:
        return service.table(session, caller.project_id, group_id)


@router.post("/{group_id}/cancel", status_code=202, responses=responses(404))
def cancel_group(caller: Writer, gateway: Gw, group_id: UUID) -> Group:
    """Cancel every job of a group that has not ended."""
    with gateway.writing() as session:
        wishes.cancel_group(session, caller.project_id, group_id)
        return service.table(session, caller.project_id, group_id)
