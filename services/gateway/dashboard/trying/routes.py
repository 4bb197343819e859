"""/try: ask what is served: a picture of two deployments side by side, or a recommender, pick by pick"""

from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.pages import Pages, done
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, Tries, WritesDeployments
from services.gateway.dashboard.templating import render
from services.gateway.dashboard.trying import serving
from services.gateway.dashboard.trying.pictures import bars_of
from services.gateway.deployments import service
from services.gateway.deployments.routes import DeploymentName
from services.gateway.inference.proxy import ask, forward, read_answer

router = Pages(prefix="/try")
_SHOWN = 12
_MOST_PICKS = 200
_TOP = 5
_STOP_POLLING = 286
"""htmx shows such an answer and asks no more."""
Chosen = Annotated[str, Query(max_length=100)]


@router.page("")
async def try_page(
    request: Request, gateway: Gw, visitor: Tries, deployment: Chosen = "", other: Chosen = ""
) -> Response:
    """Choose a deployment and ask it; of pictures, a second one beside it.

    Either may be named as a version, `cats@2`: it is asked where it is served, and else the page says how to serve it.
    """
    page = await run_in_threadpool(_read, gateway, visitor, deployment, other)
    shown: dict[str, Any] = {"page": page, "session": None}
    if page.chosen is not None and page.chosen.task == serving.RECOMMENDS and page.chosen.loaded_version is not None:
        shown["session"] = await _session(gateway, visitor, page.chosen.name, [])
    return await run_in_threadpool(render, request, "try/page.html", **shown)


def _read(gateway: Gateway, visitor: Visitor, deployment: str, other: str) -> serving.TryPage:
    with gateway.reading() as session:
        return serving.try_page(session, visitor.caller, deployment, other)


@router.action("/serve")
def serve(request: Request, gateway: Gw, visitor: WritesDeployments, form: Form) -> Response:
    """Serve a version that nobody serves, and go back to asking it."""
    reference = form.get("version")
    with gateway.writing() as session:
        name = serving.serve(session, visitor.caller.project_id, reference)
    asked = {key: name if form.get(key) == reference else form.get(key) for key in ("deployment", "other")}
    return done(f"/try?{urlencode({key: value for key, value in asked.items() if value})}", request)


@router.page("/waiting/{name}")
def waiting_part(request: Request, gateway: Gw, visitor: Tries, name: DeploymentName) -> Response:
    """Nothing while a deployment is being loaded; then the page is loaded again, or says why it failed."""
    with gateway.reading() as session:
        found = service.detail(session, visitor.caller.project_id, name)
    if found.loaded_version is not None:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    if found.status == "loading":
        return Response(status_code=204)
    return render(request, "try/waiting.html", _STOP_POLLING, one=found)


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
    found, problem = read_answer(gateway.recommender, answer)
    session = {"deployment": deployment, "items": items, "answer": None, "problem": None, "bars": [], "ms": None}
    if found is None:
        return {**session, "problem": problem}
    explanation = found.get("explanation")
    ms = answer.elapsed.total_seconds() * 1e3
    return {**session, "answer": found, "bars": bars_of(explanation) if explanation else [], "ms": ms}
