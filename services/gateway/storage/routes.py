"""/v1/storage: what takes space, and getting it back"""

from typing import Annotated

from fastapi import Query, Security

from libs.registry import retention
from libs.web.auth import Caller, Scope, authenticate
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.storage import service
from services.gateway.storage.schemas import MAX_AGE_S, Collected, CollectRequest, Usage, UsageList

router = Router(prefix="/v1/storage", tags=["storage"])
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
    dry_run: Annotated[bool | None, Query(description="Only say what would go.")] = None,
    jobs_older_than_s: Annotated[
        float | None, Query(ge=0, le=MAX_AGE_S, description="Delete jobs that ended this long ago, too.")
    ] = None,
    body: CollectRequest | None = None,
) -> Collected:
    """Delete what nothing needs any more, of all projects.

    Data sets and models that were deleted a week ago, raw uploads a week after their validation, model files a week
    after they were sent unless a job that has not ended imports them, checkpoints that a
    newer one replaced or whose job ended a month ago, and files that no row names and that are older than an hour; an
    upload that was begun in the last week may yet go on, and stays.
    Jobs only with `jobs_older_than_s`: those that ended that long ago, that no live job waits for and that validated
    no data set that exists. What to do is said in the query or in the body, each thing in one place.
    """
    asked = CollectRequest(dry_run=dry_run, jobs_older_than_s=jobs_older_than_s)
    wanted = service.asked_once(asked, body or CollectRequest())
    work = service.rehearse if wanted.dry_run else service.collect
    return work(gateway.engine, gateway.store, wanted.jobs_older_than_s)
