"""What should be served, under which name. Inference services follow these rows and write back what is.

Never commits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session, aliased

from libs.database.tables import Deployment, Model, ModelAlias, ModelVersion
from libs.registry.errors import MOST_NAMES, DeploymentNotFound, NameTaken, nearest_names
from libs.registry.models import lock_model, resolve
from libs.registry.notify import notify_deployments
from libs.registry.references import check_name, parse_reference
from libs.registry.traffic import check_is_no_arm, check_stays_an_arm, check_traffic, lock_traffic

DeploymentStatus = Literal["loading", "ready", "failed", "unloaded"]
ArmName = Annotated[str, StringConstraints(max_length=64)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
SHARING = frozenset({"traffic", "traffic_salt"})
"""Settings that say who answers and not how a model is run: changing them alone loads nothing anew."""
_ROUNDING = 1e-9  # of percentages that add up to 100


class DeploymentSettings(BaseModel):
    """How a model is run, and which share of its requests other deployments answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["cpu", "cuda"] = Field(
        default="cpu", description="Where it runs; cuda fails where there is none."
    )
    threads: int = Field(default=1, ge=1, le=256, description="Threads of one run of the model.")
    max_batch_size: int = Field(default=32, ge=1, le=4096, description="Rows computed together.")
    max_delay_ms: float = Field(
        default=0.0, ge=0, le=1000, description="How long a request may wait for others to share its batch."
    )
    queue_limit: int = Field(default=256, ge=1, le=100_000, description="Rows waiting at most; more are turned away.")
    timeout_s: float = Field(default=30.0, gt=0, le=600, description="A request that waited longer is not computed.")
    traffic: dict[ArmName, Percent] = Field(
        default={},
        max_length=16,
        description="Other deployments of recommenders, and the percentage of this one's requests that each answers.",
        examples=[{"films-new": 10}],
    )
    traffic_salt: str = Field(
        default="", max_length=64, description="Another text draws anew which users are answered by which deployment."
    )

    @field_validator("traffic")
    @classmethod
    def _leaves_nothing_below_zero(cls, traffic: dict[str, float]) -> dict[str, float]:
        if (total := fsum(traffic.values())) > 100 + _ROUNDING:
            raise ValueError(f"These are {total:g} % of the requests; 100 % is all there is.")
        return traffic


@dataclass(frozen=True, slots=True)
class WantedModel:
    """One row as an inference service needs it: the version its target means at this moment.

    Attributes:
        generation: time of the last edit of the deployment; a server's report for an older one is dropped.
        task: of the version; of the model's newest where the target cannot be resolved, so that one service reports it.
        alias: that the deployment follows.
        version_id: None when the target cannot be resolved (its alias is gone).
    """

    deployment_id: UUID
    project_id: UUID
    name: str
    generation: datetime
    settings: DeploymentSettings
    model_name: str
    task: str
    alias: str | None
    version_id: UUID | None
    version: int
    uri: str
    digest: str


def create_deployment(
    session: Session, project_id: UUID, name: str, reference: str, settings: DeploymentSettings | None = None
) -> Deployment:
    """Serve `reference` under `name`: `model@alias` follows the alias, `model@3` and `model` stay at one version.

    Raises:
        BadReference, ModelNotFound, VersionNotFound, AliasNotFound, NotReady: as `models.resolve`.
        NameTaken: there is a deployment of this name.
        TrafficRefused: as `traffic.check_traffic`.
    """
    check_name(name)
    lock_traffic(session, project_id)
    if session.scalar(_of_project(project_id).where(Deployment.name == name)) is not None:
        raise NameTaken(f"There is a deployment {name!r} already. Change it, or delete it first.")
    row = Deployment(id=uuid4(), project_id=project_id, name=name, status="loading", settings={})
    _set_target(session, row, reference)
    row.settings = (settings or DeploymentSettings()).model_dump(mode="json")
    check_traffic(session, row)
    session.add(row)
    session.flush()
    notify_deployments(session, row.id)
    return row


def update_deployment(
    session: Session,
    project_id: UUID,
    name: str,
    reference: str | None = None,
    settings: DeploymentSettings | None = None,
) -> Deployment:
    """Point a deployment elsewhere, or run it otherwise; what is loaded serves on until the new one is ready.

    Args:
        settings: those that were set; the others stay as they are.

    Raises:
        DeploymentNotFound: there is none.
        InUse: others share their requests with it, and it would be no recommender any more.
        Otherwise as `create_deployment`.
    """
    lock_traffic(session, project_id)
    row = find_deployment(session, project_id, name, lock=True)
    if reference is not None:
        _set_target(session, row, reference)
        check_stays_an_arm(session, row)
    before, changes = row.settings, settings.model_dump(mode="json", exclude_unset=True) if settings else {}
    row.settings = {**before, **changes}
    if reference is not None or "traffic" in changes:
        check_traffic(session, row)
    if reference is None and changes.keys() & SHARING and _run_settings(before) == _run_settings(row.settings):
        return _changed(session, row)
    return _changed(session, row, "loading")


def set_loaded(session: Session, project_id: UUID, name: str, loaded: bool) -> Deployment:
    """Ask for a deployment to be loaded again, or to be unloaded and kept.

    Raises:
        DeploymentNotFound: there is none.
    """
    row = find_deployment(session, project_id, name, lock=True)
    if not loaded:
        row.loaded_version_id = None
    return _changed(session, row, "loading" if loaded else "unloaded")


def delete_deployment(session: Session, project_id: UUID, name: str) -> None:
    """Stop serving and forget.

    Raises:
        DeploymentNotFound: there is none.
        InUse: others share their requests with it.
    """
    lock_traffic(session, project_id)
    row = find_deployment(session, project_id, name, lock=True)
    check_is_no_arm(session, row)
    notify_deployments(session, row.id)
    session.delete(row)
    session.flush()


def find_deployment(session: Session, project_id: UUID, name: str, *, lock: bool = False) -> Deployment:
    """The deployment called `name`.

    Raises:
        DeploymentNotFound: there is none; the error carries the nearest names.
    """
    query = _of_project(project_id).where(Deployment.name == name)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        names = session.scalars(_of_project(project_id).with_only_columns(Deployment.name).limit(MOST_NAMES)).all()
        raise DeploymentNotFound(f"There is no deployment {name[:80]!r}.", nearest_names(name, names))
    return row


def wanted_models(session: Session) -> list[WantedModel]:
    """What should be loaded now, of all projects; each service takes the tasks it serves."""
    newest = aliased(ModelVersion)
    newest_task = select(newest.task).where(newest.model_id == Model.id).order_by(newest.version.desc()).limit(1)
    rows = session.execute(
        select(Deployment, Model.name, ModelVersion, newest_task.scalar_subquery())
        .join(Model, Model.id == Deployment.model_id)
        .outerjoin(ModelAlias, (ModelAlias.model_id == Deployment.model_id) & (ModelAlias.alias == Deployment.alias))
        .outerjoin(ModelVersion, ModelVersion.id == func.coalesce(Deployment.version_id, ModelAlias.version_id))
        .where(Deployment.status != "unloaded")
        .order_by(Deployment.created_at)
    )
    return [_wanted(row[0], row[1], row[2], row[3]) for row in rows]


def report_status(
    session: Session,
    wanted: WantedModel,
    status: DeploymentStatus,
    reason: str | None = None,
    loaded_version_id: UUID | None = None,
) -> bool:
    """Write back what a server has loaded; dropped when somebody edited the row meanwhile.

    Returns:
        Whether it was written.
    """
    row = session.get(Deployment, wanted.deployment_id, with_for_update=True, populate_existing=True)
    if row is None or row.status == "unloaded" or row.updated_at != wanted.generation:
        return False
    session.execute(
        update(Deployment)
        .where(Deployment.id == row.id)
        .values(status=status, status_reason=reason, loaded_version_id=loaded_version_id)
    )
    return True


def _wanted(row: Deployment, model_name: str, version: ModelVersion | None, newest_task: str) -> WantedModel:
    return WantedModel(
        deployment_id=row.id,
        project_id=row.project_id,
        name=row.name,
        generation=row.updated_at,
        settings=DeploymentSettings.model_validate(row.settings),
        model_name=model_name,
        alias=row.alias,
        task=version.task if version else newest_task,
        version_id=version.id if version else None,
        version=version.version if version else 0,
        uri=version.uri if version else "",
        digest=version.digest if version else "",
    )


def _of_project(project_id: UUID) -> Select[Deployment]:
    return select(Deployment).where(Deployment.project_id == project_id)


def _set_target(session: Session, row: Deployment, reference: str) -> None:
    parsed = parse_reference(reference)
    row.model_id = lock_model(session, row.project_id, parsed.name, shared=True).id
    version = resolve(session, row.project_id, reference)
    row.alias = parsed.alias
    row.version_id = None if parsed.alias else version.id


def _run_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in SHARING}


def _changed(session: Session, row: Deployment, status: DeploymentStatus | None = None) -> Deployment:
    """Announce an edit; with `status` None what is loaded, or is being loaded, is still what should be."""
    if status is not None:
        row.status, row.status_reason = status, None
    row.updated_at = func.clock_timestamp()
    session.flush()
    session.refresh(row)
    notify_deployments(session, row.id)
    return row
