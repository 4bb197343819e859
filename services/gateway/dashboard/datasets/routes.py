"""/datasets: the list, one data set, and a new one"""

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from libs.web.paging import CursorText
from libs.web.problems import ConflictError
from services.gateway.context import Gw
from services.gateway.dashboard.datasets import new, view
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.pages import REFUSALS, Pages, done, problems_of
from services.gateway.dashboard.session.visit import Form, ReadsDatasets, WritesDatasets
from services.gateway.dashboard.templating import render
from services.gateway.datasets import service, upload_routes
from services.gateway.datasets.routes import DatasetName, Number
from services.gateway.datasets.upload_routes import Offset
from services.gateway.downloads import download_of, stream_file

router = Pages(prefix="/datasets")
beginning = Pages(prefix="/new-dataset")  # not below /datasets: a data set may be called "new"
_A_PAGE = 50


@router.page("")
def datasets_page(request: Request, gateway: Gw, visitor: ReadsDatasets, cursor: CursorText = None) -> Response:
    """The data sets, newest first."""
    with gateway.reading() as session:
        found = service.listing(session, visitor.caller.project_id, cursor, _A_PAGE)
    return render(request, "datasets/list.html", datasets=found, cursor=cursor)


@beginning.page("")
def new_dataset(request: Request, gateway: Gw, visitor: WritesDatasets) -> Response:
    """The form of a new data set."""
    with gateway.reading() as session:
        form = new.form_of(session, visitor.caller, FormData())
    return render(request, "datasets/new.html", form=form, typed=form.typed, problems=form.problems)


@beginning.action("")
def create_dataset(request: Request, gateway: Gw, visitor: WritesDatasets, form: Form) -> Response:
    """Begin a data set and show it, or show what is wrong."""
    project_id = visitor.caller.project_id
    try:
        wanted = new.read_form(form)
        with gateway.writing() as session:
            made = service.begin(session, project_id, wanted.name, wanted, gateway.settings.platform.data_roots)
    except REFUSALS as error:
        with gateway.reading() as session:
            shown = new.form_of(session, visitor.caller, form, problems_of(error))
        return render(request, "datasets/new.html", 422, form=shown, typed=form, problems=shown.problems)
    return done(f"/datasets/{made.dataset}?version={made.version}", request)


@router.page("/{name}")
def dataset_page(
    request: Request,
    gateway: Gw,
    visitor: ReadsDatasets,
    name: DatasetName,
    version: Annotated[int | None, Query(ge=1, le=10**9)] = None,
    cursor: CursorText = None,
) -> Response:
    """One data set: its versions, and of one of them samples, statistics and what validation found."""
    with gateway.reading() as session:
        page = view.dataset_page(session, visitor, name, version, cursor, _A_PAGE)
    shown: dict[str, Any] = {"page": page, "dataset": page.dataset, "version": page.version, "cursor": cursor}
    return render(request, "datasets/dataset.html", **shown)


@router.page("/{name}/versions/{number}/preview")
def preview(gateway: Gw, visitor: ReadsDatasets, name: DatasetName, number: Number) -> Response:
    """Sample pictures of a version on one sheet."""
    with gateway.reading() as session:
        sheet = service.preview(session, visitor.caller.project_id, name, number)
    return stream_file(gateway.store, download_of(sheet), inline=True)


@router.patch("/{name}/versions/{number}/upload", response_model=None, openapi_extra={"requestBody": {}})
async def append_chunk(
    request: Request, gateway: Gw, visitor: WritesDatasets, name: DatasetName, number: Number, offset: Offset
) -> Response:
    """A piece of a file, as the API takes it; a conflict says where to go on."""
    try:
        return await upload_routes.append_chunk(visitor.caller, gateway, name, number, request, offset)
    except ConflictError as error:
        return Response(error.detail, error.status, headers=error.headers)


@router.action("/{name}/versions/{number}/upload/complete")
def complete_upload(gateway: Gw, visitor: WritesDatasets, name: DatasetName, number: Number) -> Response:
    """The file is whole: check it."""
    upload_routes.complete_upload(visitor.caller, gateway, name, number)
    return Response(status_code=204)


@router.action("/{name}/delete")
def delete(request: Request, gateway: Gw, visitor: WritesDatasets, name: DatasetName) -> Response:
    """Delete a data set that no unfinished job uses."""
    with gateway.writing() as session:
        service.delete(session, visitor.caller.project_id, name, force=False)
    return done("/datasets", request)
