"""/models: the list, a model, a version, two versions side by side; moving aliases"""

from typing import Annotated

from fastapi import Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from libs.jobs.names import Reference
from libs.registry import models as registry
from libs.web.etags import etag
from libs.web.paging import CursorText
from libs.web.problems import validation_problem
from services.gateway.context import Gw
from services.gateway.dashboard.models import view
from services.gateway.dashboard.pages import Pages, done
from services.gateway.dashboard.session.visit import Form, ReadsModels, WritesModels
from services.gateway.dashboard.templating import render
from services.gateway.models import service
from services.gateway.models.alias_routes import AliasName
from services.gateway.models.archive import stream_bundle
from services.gateway.models.routes import ModelName, Number
from services.gateway.models.schemas import AliasRequest

router = Pages(prefix="/models")
_A_PAGE = 50
_alias: TypeAdapter[str] = TypeAdapter(AliasName)


@router.page("")
def models_page(request: Request, gateway: Gw, visitor: ReadsModels, cursor: CursorText = None) -> Response:
    """The models, newest first."""
    with gateway.reading() as session:
        models, following = view.models_list(session, visitor.caller.project_id, cursor, _A_PAGE)
    return render(request, "models/list.html", models=models, following=following, cursor=cursor)


@router.page("/compare")
def compare(
    request: Request,
    gateway: Gw,
    visitor: ReadsModels,
    version: Annotated[list[Reference], Query(min_length=2, max_length=2)],
) -> Response:
    """Two versions side by side."""
    with gateway.reading() as session:
        found = service.compare(session, visitor.caller.project_id, version)
    return render(request, "models/compare.html", base=found.base, other=found.against[0])


@router.page("/{name}")
def model_page(
    request: Request, gateway: Gw, visitor: ReadsModels, name: ModelName, cursor: CursorText = None
) -> Response:
    """One model: aliases, and versions, newest first."""
    with gateway.reading() as session:
        page = view.model_page(session, visitor.caller.project_id, name, cursor, _A_PAGE)
    return render(request, "models/model.html", page=page, model=page.model, cursor=cursor)


@router.page("/{name}/versions/{number}")
def version_page(request: Request, gateway: Gw, visitor: ReadsModels, name: ModelName, number: Number) -> Response:
    """One version: figures, gates, labels, and where it comes from."""
    with gateway.reading() as session:
        page = view.version_page(session, visitor.caller.project_id, name, number)
    return render(request, "models/version.html", page=page, version=page.version)


@router.page("/{name}/versions/{number}/download")
def download(gateway: Gw, visitor: ReadsModels, name: ModelName, number: Number) -> Response:
    """The bundle as a zip."""
    with gateway.reading() as session:
        found = service.find_version(session, visitor.caller.project_id, name, number)
    return stream_bundle(gateway.store, found, name)


@router.action("/{name}/aliases")
def move_alias(request: Request, gateway: Gw, visitor: WritesModels, name: ModelName, form: Form) -> Response:
    """Point an alias at a version, if it is where the page showed it."""
    alias, version = _target(form.get("alias"), form.get("version"))
    revision = form.get("revision")
    seen = {"if_match": etag(int(revision))} if revision.isdecimal() else {"if_match": None, "if_none_match": "*"}
    with gateway.writing() as session:
        service.set_alias(session, visitor.caller.project_id, name, alias, version, **seen)
    return done(f"/models/{name}", request)


def _target(alias: str, version: str) -> tuple[str, int]:
    try:
        return _alias.validate_python(alias), AliasRequest.model_validate({"version": version}).version
    except ValidationError as error:
        raise validation_problem(error) from None


@router.action("/{name}/aliases/{alias}/delete")
def delete_alias(
    request: Request, gateway: Gw, visitor: WritesModels, name: ModelName, alias: AliasName, form: Form
) -> Response:
    """Remove an alias that no deployment follows."""
    revision = form.get("revision")
    with gateway.writing() as session:
        seen = etag(int(revision)) if revision.isdecimal() else None
        service.delete_alias(session, visitor.caller.project_id, name, alias, seen)
    return done(f"/models/{name}", request)


@router.action("/{name}/delete")
def delete_model(request: Request, gateway: Gw, visitor: WritesModels, name: ModelName) -> Response:
    """Delete a model that is not deployed."""
    with gateway.writing() as session:
        registry.delete_model(session, visitor.caller.project_id, name)
    return done("/models", request)


@router.action("/{name}/versions/{number}/delete")
def delete_version(request: Request, gateway: Gw, visitor: WritesModels, name: ModelName, number: Number) -> Response:
    """Delete a version that no alias and no deployment uses."""
    with gateway.writing() as session:
        registry.delete_version(session, visitor.caller.project_id, name, number)
    return done(f"/models/{name}", request)
