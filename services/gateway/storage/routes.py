"""/v1/storage: what takes space, and getting it back"""

from typing import Annotated

from fastapi import APIRouter, Query, Security

from libs.registry import retention
from libs.web.auth import Caller, Scope, authenticate
from libs.web.problems import responses
from services.gateway.context import Gw
from services.gateway.storage import service
from services.gateway.storage.schemas import Collected, Usage, UsageList

MAX_AGE_S = 100 * 365 * 86_400
router = APIRouter(prefix="/v1/storage", tags=["storage"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.DATASETS_READ])]
Admin = Annotated[Caller, Security(authenticate, scopes=[Scope.ADMIN])]


@router.get("", responses=responses())
def get_usage(caller: Reader, gateway: Gw) -> UsageList:
    """Bytes in the artifact store by data set, model and kind of artifact, largest first."""
    with gateway.reading() as session:
        found = retention.usage(session, caller.project_id)
    return UsageList(items=[Usage.model_validate(one) for one in found])


@router.post("/gc", responses=responses())
def collect_garbage(
    _: Admin,
    gateway: Gw,
    dry_run: Annotated[bool, Query(description="Only say what would go.")] = False,
    jobs_older_than_s: Annotated[
        float | None, Query(ge=0, le=MAX_AGE_S, description="Delete jobs that ended this long ago, too.")
    ] = None,
) -> Collected:
    """Delete what nothing needs any more, of all projects.

    Data sets and models that were deleted a week ago, raw uploads a week after their validation, checkpoints that a
    newer one replaced or whose job ended a month ago, and files that no row names and that are older than an hour.
    Jobs only with `jobs_older_than_s`: those that ended that long ago, that no live job waits for and that validated
    no data set that exists.
    """
    work = service.rehearse if dry_run else service.collect
    return work(gateway.engine, gateway.store, jobs_older_than_s)
