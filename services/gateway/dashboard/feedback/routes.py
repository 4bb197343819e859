"""/feedback: how recommendations were taken, by version and by arm"""

from typing import Annotated, Any

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
Of = Annotated[str, Query(max_length=220, pattern=r"^(deployment|model)/.+$")]
Days = Annotated[int, Query(ge=1, le=366)]
K = Annotated[int, Query(ge=1, le=200)]


@router.page("")
async def feedback_page(
    request: Request, gateway: Gw, visitor: ReadsFeedback, of: Of | None = None, days: Days = 30, k: K = 10
) -> Response:
    """Impressions, clicks, conversions, hits of `deployment/NAME` or `model/NAME`; unless named, of the newest one."""
    choices = await run_in_threadpool(_choices, gateway, visitor)
    hidden = [f"{kind}s:read" for kind in ("deployment", "model") if kind not in _kinds(visitor)]
    chosen = of or (choices[0] if choices else "")
    kind, _, name = chosen.partition("/")
    if of and of not in choices:  # an older one, or one that the key may not list
        choices = [of, *choices]
    shown: dict[str, Any] = {
        "choices": choices,
        "hidden": hidden,
        "chosen": chosen,
        "kind": kind,
        "name": name,
        "days": days,
        "k": k,
    }
    summary, problem = await summary_of(gateway, visitor, kind, name, days, k) if name else (None, "")
    return await run_in_threadpool(render, request, "feedback/page.html", **shown, summary=summary, problem=problem)


def _choices(gateway: Gateway, visitor: Visitor) -> list[str]:
    with gateway.reading() as session:
        return repository.recommenders(session, visitor.caller.project_id, _kinds(visitor), _LISTED)


def _kinds(visitor: Visitor) -> list[str]:
    """What the visitor's key may list."""
    return [kind for kind in ("deployment", "model") if visitor.caller.may(f"{kind}s:read")]
