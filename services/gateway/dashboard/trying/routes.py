"""/try: ask what is served: a picture of two deployments side by side, or a recommender, pick by pick"""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, Tries
from services.gateway.dashboard.templating import render
from services.gateway.dashboard.trying.pictures import bars_of
from services.gateway.deployments import service
from services.gateway.deployments.routes import DeploymentName
from services.gateway.deployments.schemas import Deployment
from services.gateway.inference.proxy import ask, forward

router = Pages(prefix="/try")
_LISTED = 200
_SHOWN = 12
_MOST_PICKS = 200
_TOP = 5
Chosen = Annotated[str, Query(max_length=100)]


@router.page("")
async def try_page(
    request: Request, gateway: Gw, visitor: Tries, deployment: Chosen = "", other: Chosen = ""
) -> Response:
    """Choose a deployment and ask it; of pictures, a second one beside it."""
    deployments = await run_in_threadpool(_deployments, gateway, visitor)
    chosen = next((one for one in deployments if one.name == deployment), deployments[0] if deployments else None)
    shown: dict[str, Any] = {"deployments": deployments, "chosen": chosen, "other": other, "session": None}
    if chosen is not None and chosen.task == "next-item":
        shown["session"] = await _session(gateway, visitor, chosen.name, [])
    return await run_in_threadpool(render, request, "try/page.html", **shown)


def _deployments(gateway: Gateway, visitor: Visitor) -> list[Deployment]:
    def read(session: Session) -> list[Deployment]:
        return service.listing(session, visitor.caller.project_id, None, _LISTED).items

    with gateway.reading() as session:
        return [one for one in read(session) if one.loaded_version is not None]


@router.post("/classify/{name}", response_model=None, openapi_extra={"requestBody": {}})
async def classify(request: Request, gateway: Gw, visitor: Tries, name: DeploymentName) -> Response:
    """The labels of the picture in the body, as `POST /v1/classify/{name}` gives them."""
    path = f"/v1/classify/{quote(name, safe='')}?top_k={_TOP}"
    return await forward(gateway.model_server, request, path, visitor.key_text)


@router.action("/session")
async def session_part(request: Request, gateway: Gw, visitor: Tries, form: Form) -> Response:
    """The next items after what was picked, and what the model saw in it."""
    session = await _session(gateway, visitor, form.get("deployment"), picks(form))
    return await run_in_threadpool(render, request, "try/session.html", session=session)


def picks(form: FormData) -> list[str]:
    """The history after this click: an item more, one less, or none."""
    if "clear" in form:
        return []
    picked = [item for item in form.all("item") if item]
    dropped = form.get("drop")
    if dropped.isdecimal() and int(dropped) < len(picked):
        del picked[int(dropped)]
    added = form.get("add") or form.get("typed")
    return [*picked, *([added] if added else [])][-_MOST_PICKS:]


async def _session(gateway: Gateway, visitor: Visitor, deployment: str, items: list[str]) -> dict[str, Any]:
    """The recommender's answer, or its problem, with the history that was asked about."""
    body = {"model": deployment, "items": items, "k": _SHOWN, "explain": "full" if items else "none"}
    answer = await ask(gateway.recommender, "/v1/recommendations", visitor.key_text, body)
    found = answer.json()
    session = {"deployment": deployment, "items": items, "answer": None, "problem": None, "bars": [], "ms": None}
    if answer.status_code != 200:
        return {**session, "problem": found.get("detail", f"The recommender answered {answer.status_code}.")}
    explanation = found.get("explanation")
    ms = answer.elapsed.total_seconds() * 1e3
    return {**session, "answer": found, "bars": bars_of(explanation) if explanation else [], "ms": ms}
