"""/deployments: the list with a new one, and one deployment with its figures"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from libs.registry import deployments as registry
from libs.registry.deployments import DeploymentSettings
from libs.web.auth import Scope
from libs.web.paging import CursorText
from libs.web.problems import FieldProblem, validation_problem
from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.deployments.statistics import Readings
from services.gateway.dashboard.deployments.traffic import arms_of, read_shares
from services.gateway.dashboard.feedback.summary import summary_of
from services.gateway.dashboard.jobs.repository import ready_models
from services.gateway.dashboard.models.repository import followable
from services.gateway.dashboard.pages import REFUSALS, Pages, done, problems_of
from services.gateway.dashboard.schema_fields import Field, Typed, by_field, fields_of, json_of, shown_values
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, ReadsDeployments, WritesDeployments
from services.gateway.dashboard.templating import render
from services.gateway.deployments import service
from services.gateway.deployments.routes import DeploymentName
from services.gateway.deployments.schemas import Deployment, DeploymentChange, DeploymentRequest

router = Pages(prefix="/deployments")
_A_PAGE = 50
_LISTED = 200
_NEW: dict[str, Any] = DeploymentRequest.model_json_schema()


@router.page("")
def deployments_page(
    request: Request,
    gateway: Gw,
    visitor: ReadsDeployments,
    cursor: CursorText = None,
    model: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The deployments, newest first, and the form of a new one, for `model` if it is named."""
    typed = Typed({"model": model} if model else {})
    return _list(request, gateway, visitor, typed, cursor=cursor)


def _list(
    request: Request,
    gateway: Gateway,
    visitor: Visitor,
    typed: Typed,
    *,
    cursor: str | None = None,
    problems: Sequence[FieldProblem] = (),
) -> Response:
    project_id = visitor.caller.project_id
    with gateway.reading() as session:
        found = service.listing(session, project_id, cursor, _A_PAGE)
        fields = _fields(session, visitor, _NEW, typed)
    shown = {"deployments": found, "fields": fields, "problems": problems, "cursor": cursor}
    return render(request, "deployments/list.html", 422 if problems else 200, **shown, open=bool(typed.values))


def _fields(session: Session, visitor: Visitor, schema: dict[str, Any], typed: Typed) -> list[Field]:
    """The fields of a deployment; its model is a choice of what there is, where the key may list it."""
    project_id, given = visitor.caller.project_id, typed.values.get("model", "")
    may_list = visitor.caller.may(Scope.MODELS_READ)
    followed = followable(session, project_id, _LISTED) if may_list else ()
    known = [*followed, *(ready_models(session, project_id, None, _LISTED) if may_list else ())]
    named = next((one for one in known if one.partition("@")[0] == given), given)
    options = tuple(known if named in known or not named else [named, *known])
    fields = [replace(field, label=field.label.removeprefix("settings: ")) for field in fields_of(schema, typed)]
    return [
        replace(field, kind="choice" if may_list else "text", options=options, value=named)
        if field.name == "model"
        else field
        for field in fields
        if field.name != "settings/traffic"  # has a part of its own on the page of a deployment
    ]


@router.action("")
def create(request: Request, gateway: Gw, visitor: WritesDeployments, form: Form) -> Response:
    """Deploy a model and show the deployment, or show what is wrong."""
    fields = fields_of(_NEW, Typed())
    try:
        wanted = _parsed(DeploymentRequest, json_of(fields, form))
        with gateway.writing() as session:
            service.create(session, visitor.caller.project_id, wanted)
    except REFUSALS as error:
        problems = problems_of(error)
        typed = Typed(shown_values(fields, form), by_field(problems))
        return _list(request, gateway, visitor, typed, problems=problems)
    return done(f"/deployments/{wanted.name}", request)


def _parsed(kind: Any, body: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise validation_problem(error) from None


@router.page("/{name}")
def deployment_page(request: Request, gateway: Gw, visitor: ReadsDeployments, name: DeploymentName) -> Response:
    """One deployment; its figures are asked for by the page once it is there."""
    return _page(request, gateway, visitor, name, Typed())


def _page(
    request: Request, gateway: Gateway, visitor: Visitor, name: str, typed: Typed, problems: Sequence[FieldProblem] = ()
) -> Response:
    with gateway.reading() as session:
        deployment = service.detail(session, visitor.caller.project_id, name)
        fields = _fields(session, visitor, _change_schema(deployment), typed)
    shown = {"deployment": deployment, "fields": fields, "problems": problems}
    return render(request, "deployments/deployment.html", 422 if problems else 200, **shown)


def _change_schema(deployment: Deployment) -> dict[str, Any]:
    """The schema of a change, in which what stands now is the default: what is left empty stays."""
    settings = DeploymentSettings.model_json_schema()
    now = deployment.settings.model_dump(mode="json")
    properties = {name: {**below, "default": now[name]} for name, below in settings["properties"].items()}
    model = {"type": "string", "description": "Empty: as it is.", "default": None}
    return {**settings, "properties": {"model": model, "settings": {**settings, "properties": properties}}}


@router.page("/{name}/traffic")
async def traffic_part(request: Request, gateway: Gw, visitor: ReadsDeployments, name: DeploymentName) -> Response:
    """Which deployments answer its requests, and how their answers were taken."""
    deployment, others = await run_in_threadpool(_read_all, gateway, visitor, name)
    may_read = visitor.caller.may(Scope.EVENTS_READ)
    summary, problem = None, ""
    if may_read:
        summary, problem = await summary_of(gateway, visitor, "deployment", name, days=30, k=10)
    arms = arms_of(deployment, others, summary["variants"] if summary else ())
    shown: dict[str, Any] = {"deployment": deployment, "arms": arms, "problem": problem, "may_read": may_read}
    return await run_in_threadpool(render, request, "deployments/traffic.html", **shown, known=summary is not None)


def _read_all(gateway: Gateway, visitor: Visitor, name: str) -> tuple[Deployment, list[Deployment]]:
    with gateway.reading() as session:
        deployment = service.detail(session, visitor.caller.project_id, name)
        return deployment, service.listing(session, visitor.caller.project_id, None, _LISTED).items


@router.action("/{name}/traffic")
def share(request: Request, gateway: Gw, visitor: WritesDeployments, name: DeploymentName, form: Form) -> Response:
    """Have other deployments answer so much of its requests, and no others."""
    try:
        wanted = _parsed(DeploymentChange, {"settings": {"traffic": read_shares(form)}})
        with gateway.writing() as session:
            service.change(session, visitor.caller.project_id, name, wanted)
    except REFUSALS as error:
        return _page(request, gateway, visitor, name, Typed(), problems_of(error))
    return done(f"/deployments/{name}", request)


@router.page("/{name}/now")
async def deployment_part(request: Request, gateway: Gw, visitor: ReadsDeployments, name: DeploymentName) -> Response:
    """What it is asked, how long it takes, how it fails."""
    project_id = visitor.caller.project_id
    deployment = await run_in_threadpool(_read, gateway, visitor, name)
    readings: Readings = request.app.state.readings
    statistics = await readings.of(gateway, deployment.task, project_id, name)
    shown: dict[str, Any] = {"deployment": deployment, "statistics": statistics}
    return await run_in_threadpool(render, request, "deployments/now.html", **shown)


def _read(gateway: Gateway, visitor: Visitor, name: str) -> Deployment:
    with gateway.reading() as session:
        return service.detail(session, visitor.caller.project_id, name)


@router.action("/{name}")
def change(request: Request, gateway: Gw, visitor: WritesDeployments, name: DeploymentName, form: Form) -> Response:
    """Serve another version, or serve it otherwise."""
    with gateway.reading() as session:
        deployment = service.detail(session, visitor.caller.project_id, name)
    fields = fields_of(_change_schema(deployment), Typed())
    try:
        wanted = _parsed(DeploymentChange, json_of(fields, form))
        with gateway.writing() as session:
            service.change(session, visitor.caller.project_id, name, wanted)
    except REFUSALS as error:
        problems = problems_of(error)
        typed = Typed(shown_values(fields, form), by_field(problems))
        return _page(request, gateway, visitor, name, typed, problems)
    return done(f"/deployments/{name}", request)


@router.action("/{name}/delete")
def delete(request: Request, gateway: Gw, visitor: WritesDeployments, name: DeploymentName) -> Response:
    """Stop serving under this name."""
    with gateway.writing() as session:
        registry.delete_deployment(session, visitor.caller.project_id, name)
    return done("/deployments", request)
