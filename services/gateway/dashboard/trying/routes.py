"""/try: ask what is served, two side by side: about a picture, or recommenders, pick by pick"""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.pages import Pages, done, is_partial
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, Tries, WritesDeployments
from services.gateway.dashboard.templating import render
from services.gateway.dashboard.trying import serving
from services.gateway.dashboard.trying.session import MOST_PICKS, asked_of, picks
from services.gateway.deployments import service
from services.gateway.deployments.routes import DeploymentName
from services.gateway.inference.proxy import forward

router = Pages(prefix="/try")
_TOP = 5
_STOP_POLLING = 286
"""htmx shows such an answer and asks no more."""
Chosen = Annotated[str, Query(max_length=200)]
Picked = Annotated[list[Annotated[str, Query(max_length=200)]] | None, Query(max_length=MOST_PICKS)]


@router.page("")
async def try_page(
    request: Request, gateway: Gw, visitor: Tries, deployment: Chosen = "", other: Chosen = "", item: Picked = None
) -> Response:
    """Choose a deployment and ask it, and a second one of the same kind beside it; recommenders about picked items.

    Either may be named as a version, `cats@2`: it is asked where it is served, and else the page says how to serve it.
    """
    page = await run_in_threadpool(_read, gateway, visitor, deployment, other)
    session, items = None, [one for one in item or () if one]
    if page.recommends and page.asked and all(one.loaded_version is not None for one in page.asked):
        session = await asked_of(gateway, visitor.key_text, [one.name for one in page.asked], items)
    return await run_in_threadpool(render, request, "try/page.html", page=page, session=session, picked=items)


def _read(gateway: Gateway, visitor: Visitor, deployment: str, other: str) -> serving.TryPage:
    with gateway.reading() as session:
        return serving.try_page(session, visitor.caller, deployment, other)


@router.action("/serve")
def serve(request: Request, gateway: Gw, visitor: WritesDeployments, form: Form) -> Response:
    """Serve a version that nobody serves, and go back to asking it."""
    reference = form.get("version")
    with gateway.writing() as session:
        name = serving.serve(session, visitor.caller.project_id, reference)
    asked = [(key, name if form.get(key) == reference else form.get(key)) for key in ("deployment", "other")]
    asked += [("item", item) for item in form.all("item")]
    return done(f"/try?{urlencode([(key, value) for key, value in asked if value])}", request)


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
    """The next items after what was picked, and what each model saw in it; without a script, the whole page."""
    chosen, other, items = form.get("deployment"), form.get("other"), picks(form)
    session = await asked_of(gateway, visitor.key_text, [chosen, *([other] if other else [])], items)
    if is_partial(request):
        return await run_in_threadpool(render, request, "try/session.html", session=session)
    page = await run_in_threadpool(_read, gateway, visitor, chosen, other)
    return await run_in_threadpool(render, request, "try/page.html", page=page, session=session, picked=items)
