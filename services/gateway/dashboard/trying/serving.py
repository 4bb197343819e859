"""What can be asked: what is served, and what a click would serve."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from libs.registry import models
from libs.registry.errors import DeploymentNotFound, RegistryError
from libs.registry.references import parse_reference
from libs.web.auth import Caller, Scope
from services.gateway.dashboard.trying import repository
from services.gateway.deployments import service
from services.gateway.deployments.schemas import Deployment, DeploymentRequest

RECOMMENDS = "next-item"
_LISTED = 200


@dataclass(frozen=True, slots=True)
class TryPage:
    """What is chosen, and what there is to choose.

    Attributes:
        chosen, other: what is asked; it may still be loading. None: nothing, or what was named is not served.
        missing: what was named and is not served, and why; of a version that a click would serve, nothing.
        unserved: `name@version` of pictures' models that a click would serve; none where the key may not list them.
        may_serve: whether the visitor's key may.
    """

    deployments: list[Deployment]
    chosen: Deployment | None
    other: Deployment | None
    wanted: tuple[str, str]
    missing: list[tuple[str, str]]
    unserved: Sequence[str]
    may_serve: bool

    @property
    def pictures(self) -> list[Deployment]:
        """Those that are asked about pictures."""
        return [one for one in self.deployments if one.task != RECOMMENDS]

    @property
    def asked(self) -> list[Deployment]:
        """Those whose answers stand side by side."""
        return [one for one in (self.chosen, self.other) if one is not None]


def try_page(session: Session, caller: Caller, deployment: str, other: str) -> TryPage:
    """The page for what is named: by the name of a deployment or as a version."""
    everything = _known(session, caller.project_id, (deployment, other))
    there = [one for one in everything if one.loaded_version is not None or one.status == "loading"]
    chosen, beside = _find(there, deployment), _find(there, other)
    named = [name for name, found in ((deployment, chosen), (other, beside)) if name and found is None]
    if chosen is None and not deployment:
        chosen = next((one for one in there if one.loaded_version is not None), there[0] if there else None)
    if chosen is not None and (chosen.task == RECOMMENDS or beside is chosen):
        beside = None
    served = {f"{one.model}@{one.loaded_version}" for one in there}
    may_list = caller.may(Scope.MODELS_READ)
    ready = repository.ready_versions(session, caller.project_id, "image-classification", _LISTED) if may_list else ()
    return TryPage(
        deployments=there,
        chosen=chosen,
        other=beside,
        wanted=(deployment, other),
        missing=[(name, _why_not(session, caller.project_id, everything, name)) for name in named],
        unserved=[reference for reference in ready if reference not in served],
        may_serve=caller.may(Scope.DEPLOYMENTS_WRITE),
    )


def _known(session: Session, project_id: UUID, named: Sequence[str]) -> list[Deployment]:
    """The newest deployments, and those that are named, however old."""
    found = service.listing(session, project_id, None, _LISTED).items
    listed = {one.name for one in found}
    for name in dict.fromkeys(named):
        if name and "@" not in name and name not in listed:
            with suppress(DeploymentNotFound):
                found.append(service.detail(session, project_id, name))
    return found


def _find(deployments: Sequence[Deployment], name: str) -> Deployment | None:
    return next(
        (one for one in deployments if name in (one.name, f"{one.model}@{one.loaded_version or one.version}")), None
    )


def _why_not(session: Session, project_id: UUID, everything: Sequence[Deployment], name: str) -> str:
    known = next((one for one in everything if one.name == name), None)
    if known is not None:
        return f"it is {known.status}" + (f": {known.status_reason}" if known.status_reason else ".")
    if "@" not in name:
        return "there is no deployment of this name."
    try:
        models.resolve(session, project_id, name)
    except RegistryError as error:
        return str(error)
    return ""


def serve(session: Session, project_id: UUID, reference: str) -> str:
    """Serve a version under a name made of its own; the name of the deployment, which may have been there.

    Raises:
        RegistryError: there is no such ready version.
        NameTaken: another model is served under that name.
    """
    version = models.resolve(session, project_id, reference)
    model = parse_reference(reference).name
    name = f"{model[:50]}-v{version.version}"
    try:
        found = service.detail(session, project_id, name)
    except DeploymentNotFound:
        found = None
    if found is None or (found.model, found.version) != (model, version.version):
        service.create(session, project_id, DeploymentRequest(name=name, model=f"{model}@{version.version}"))
    return name
