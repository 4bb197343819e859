"""/feedback: how recommendations were taken, by version and by arm"""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.feedback import repository
from services.gateway.dashboard.feedback.summary import summary_of
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import ReadsFeedback
from services.gateway.dashboard.templating import render

router = Pages(prefix="/feedback")
_LISTED = 200
Name = Annotated[str, Query(max_length=200)]
Days = Annotated[int, Query(ge=1, le=366)]
K = Annotated[int, Query(ge=1, le=200)]


@router.page("")
async def feedback_page(
    request: Request,
    gateway: Gw,
    visitor: ReadsFeedback,
    model: Name = "",
    deployment: Name = "",
    days: Days = 30,
    k: K = 10,
) -> Response:
    """Impressions, clicks, conversions, hits of a model or of a deployment; unless named, of the newest one."""
    choices = await run_in_threadpool(_choices, gateway, visitor)
    of: Literal["model", "deployment"] = "model" if model else "deployment"
    first = next((name for kind, name in choices if kind == "deployment"), "")
    name = model or deployment or first
    shown: dict[str, Any] = {"choices": choices, "of": of, "name": name, "days": days, "k": k}
    summary, problem = await summary_of(gateway, visitor, of, name, days, k) if name else (None, "")
    return await run_in_threadpool(render, request, "feedback/page.html", **shown, summary=summary, problem=problem)


def _choices(gateway: Gateway, visitor: Visitor) -> list[tuple[str, str]]:
    with gateway.reading() as session:
        return repository.recommenders(session, visitor.caller.project_id, _LISTED)
