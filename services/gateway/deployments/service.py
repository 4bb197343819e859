"""Deployments as the API shows them. The rows are all there is: model servers follow them."""

from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Deployment as DeploymentRow
from libs.registry import deployments as registry
from libs.registry.errors import BadReference, DeploymentNotFound, NotFoundError, NotReady, TrafficRefused
from libs.web.paging import Page, decode_cursor
from libs.web.problems import FieldProblem, UnprocessableError, pointer
from services.gateway.deployments import repository
from services.gateway.deployments.schemas import Deployment, DeploymentChange, DeploymentRequest
from services.gateway.paging import page_of


def create(session: Session, project_id: UUID, request: DeploymentRequest) -> Deployment:
    """Serve a model under a name.

    Raises:
        UnprocessableError: the reference means no ready version, or the requests cannot be shared so.
        NameTaken: there is a deployment of this name.
    """
    try:
        row = registry.create_deployment(session, project_id, request.name, request.model, request.settings)
    except TrafficRefused as error:
        raise _bad_traffic(error) from None
    except (BadReference, NotFoundError, NotReady) as error:
        raise _bad_model(error) from None
    return _read(session, project_id, row)


def change(session: Session, project_id: UUID, name: str, request: DeploymentChange) -> Deployment:
    """Point a deployment elsewhere, or run it otherwise.

    Raises:
        DeploymentNotFound: there is none of this name.
        InUse: others share their requests with it, and it would be no recommender any more.
        UnprocessableError: the reference means no ready version, or the requests cannot be shared so.
    """
    try:
        row = registry.update_deployment(session, project_id, name, request.model, request.settings)
    except DeploymentNotFound:
        raise
    except TrafficRefused as error:
        raise _bad_traffic(error) from None
    except (BadReference, NotFoundError, NotReady) as error:
        raise _bad_model(error) from None
    return _read(session, project_id, row)


def _bad_model(error: BadReference | NotFoundError | NotReady) -> UnprocessableError:
    field = FieldProblem(pointer="/model", message=str(error))
    return UnprocessableError(str(error), code=error.code, errors=[field])


def _bad_traffic(error: TrafficRefused) -> UnprocessableError:
    place = pointer(["settings", "traffic", *([error.arm] if error.arm is not None else [])])
    return UnprocessableError(str(error), code=error.code, errors=[FieldProblem(pointer=place, message=str(error))])


def listing(session: Session, project_id: UUID, cursor: str | None, limit: int) -> Page[Deployment]:
    """A page of deployments, newest first."""
    after = decode_cursor(cursor, "deployments", {})
    rows = repository.page(session, project_id, after, limit + 1)
    by_row = {row[0].id: _deployment(row) for row in rows}
    return page_of([row[0] for row in rows], limit, "deployments", {}, lambda row: by_row[row.id])


def detail(session: Session, project_id: UUID, name: str) -> Deployment:
    """One deployment."""
    return _read(session, project_id, registry.find_deployment(session, project_id, name))


def serving(session: Session, project_id: UUID, version_id: UUID) -> Deployment | None:
    """A deployment in which a version answers, or which is loading it."""
    described = repository.serving(session, project_id, version_id)
    return None if described is None else _deployment(described)


def _read(session: Session, project_id: UUID, row: DeploymentRow) -> Deployment:
    session.refresh(row)
    return _deployment(repository.described(session, project_id, row.id))


def _deployment(described: repository.Described) -> Deployment:
    row, model, wanted, loaded, task = described
    return Deployment(
        id=row.id,
        name=row.name,
        model=model,
        task=task,
        alias=row.alias,
        version=wanted,
        loaded_version=loaded,
        status=row.status,
        status_reason=row.status_reason,
        settings=registry.DeploymentSettings.model_validate(row.settings),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
