"""What can be asked: what is served, and what a click would serve."""

from collections.abc import Iterable, Mapping
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
class Named:
    """What somebody named: a deployment or a version.

    Attributes:
        reference: the name, of a version always with its number.
        found: the deployment that is asked; it may still be loading.
        problem: why it cannot be asked; empty for a version that a click would serve.
        task: of the one or the other, as far as it is known.
    """

    reference: str
    found: Deployment | None = None
    problem: str = ""
    task: str | None = None


@dataclass(frozen=True, slots=True)
class TryPage:
    """What is chosen, and what there is to choose.

    Attributes:
        deployments: those that can be asked, newest first, and what is chosen.
        chosen, other: what is asked; it may still be loading. None: nothing, or what was named is not served.
        wanted: what was named as chosen and as other, of versions always with a number.
        missing: what was named and is not asked.
        unserved: `name@version` → task of what a click would serve; none where the key may not list models, but what
            was named.
        may_serve: whether the visitor's key may.
        task: of what is asked, or would be.
    """

    deployments: list[Deployment]
    chosen: Deployment | None
    other: Deployment | None
    wanted: tuple[str, str]
    missing: list[Named]
    unserved: Mapping[str, str]
    may_serve: bool
    task: str | None

    @property
    def recommends(self) -> bool:
        """Whether it is about items; else about pictures."""
        return self.task == RECOMMENDS

    @property
    def asked(self) -> list[Deployment]:
        """Those whose answers stand side by side."""
        return [one for one in (self.chosen, self.other) if one is not None]

    @property
    def beside(self) -> list[Deployment]:
        """Deployments that may stand beside the one that is chosen."""
        chosen = self.chosen.id if self.chosen is not None else None
        return [one for one in self.deployments if one.task == self.task and one.id != chosen]

    @property
    def unserved_beside(self) -> list[str]:
        """Versions that may stand beside it once they are served."""
        return [reference for reference, task in self.unserved.items() if task == self.task]


def try_page(session: Session, caller: Caller, deployment: str, other: str) -> TryPage:
    """The page for what is named: by the name of a deployment or as a version."""
    if not deployment:
        deployment, other = other, ""
    listed = service.listing(session, caller.project_id, None, _LISTED).items
    there = [one for one in listed if _is_there(one)]
    by_name = {one.name: one for one in listed}
    first, second = (_named(session, caller.project_id, by_name, text) for text in (deployment, other))
    if not deployment:
        first = _asked(next((one for one in there if one.loaded_version is not None), there[0] if there else None))
    if second.task is not None and first.task not in (None, second.task):
        problem = f"it answers no such questions as {first.reference} does."
        second = Named(second.reference, problem=problem)
    if second.reference == first.reference or (second.found is not None and second.found == first.found):
        second = Named("")
    chosen, beside = first.found, second.found
    missing = [one for one in (first, second) if one.reference and one.found is None]
    may_list = caller.may(Scope.MODELS_READ)
    ready = repository.unserved_versions(session, caller.project_id, _LISTED) if may_list else {}
    return TryPage(
        deployments=_each_once([*there, *(one for one in (chosen, beside) if one is not None)]),
        chosen=chosen,
        other=beside,
        wanted=(first.reference, second.reference),
        missing=missing,
        unserved={**{one.reference: one.task for one in missing if one.task and not one.problem}, **ready},
        may_serve=caller.may(Scope.DEPLOYMENTS_WRITE),
        task=first.task or second.task,
    )


def _is_there(one: Deployment) -> bool:
    return one.loaded_version is not None or one.status == "loading"


def _each_once(deployments: Iterable[Deployment]) -> list[Deployment]:
    return list({one.id: one for one in deployments}.values())


def _asked(deployment: Deployment | None) -> Named:
    return Named("") if deployment is None else Named(deployment.name, deployment, task=deployment.task)


def _named(session: Session, project_id: UUID, listed: Mapping[str, Deployment], text: str) -> Named:
    """What a text names, however old it is."""
    if not text:
        return Named("")
    try:
        if "@" in text:
            return _version(session, project_id, text)
        found = listed.get(text) or service.detail(session, project_id, text)
    except DeploymentNotFound:
        return Named(text, problem="there is no deployment of this name.")
    except RegistryError as error:
        return Named(text, problem=str(error))
    if _is_there(found):
        return _asked(found)
    return Named(text, problem=f"it is {found.status}" + (f": {found.status_reason}" if found.status_reason else "."))


def _version(session: Session, project_id: UUID, text: str) -> Named:
    version = models.resolve(session, project_id, text, ready=False)
    reference = f"{parse_reference(text).name}@{version.version}"
    found = service.serving(session, project_id, version.id)
    if found is None and version.status != "ready":
        models.resolve(session, project_id, reference)  # which says why it cannot be served
    return Named(reference, found, task=version.task)


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
