"""References of a job spec, resolved and pinned: what a job will read is settled when it is accepted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session

from libs.data.manifest import DataKind
from libs.database.tables import ModelVersion
from libs.jobs.errors import Fault, RequestRefused
from libs.jobs.spec import JobSpec
from libs.models.catalog import METHODS, Task, UnknownMethodError
from libs.models.estimate_config import EstimateConfig
from libs.models.sequences.config import BESIDE
from libs.models.update_config import UpdateConfig
from libs.registry import datasets, models
from libs.registry.datasets import ReadyVersion
from libs.registry.errors import BadReference, RegistryError
from libs.registry.import_config import ImportConfig
from libs.registry.references import Reference, check_alias, parse_reference
from libs.registry.uploads import find_upload


@dataclass(frozen=True, slots=True)
class Roles:
    """What a method reads: the roles it needs, and those it may be given.

    Attributes:
        beside: those of `optional_models` whose models are measured beside the job's own: each recommends items and was
            trained by the method that the role is named by.
        data: kind of its data sets; None: what the model of the job reads.
        task: of its models; None: any.
    """

    datasets: frozenset[str]
    models: frozenset[str]
    optional_models: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    optional_datasets: frozenset[str] = frozenset()
    data: DataKind | None = "images"
    task: Task | None = "image-classification"

    @property
    def all_datasets(self) -> frozenset[str]:
        """Roles of data sets, needed or not."""
        return self.datasets | self.optional_datasets

    @property
    def all_models(self) -> frozenset[str]:
        """Roles of models, needed or not."""
        return self.models | self.optional_models


_TRAINING = Roles(frozenset({"train"}), frozenset(), frozenset({"init"}))
_MEASURING = Roles(frozenset({"data"}), frozenset({"model"}))
_READS_NOTHING = Roles(frozenset(), frozenset())
_UPDATING = Roles(frozenset({"train"}), frozenset({"init"}), data="events", task="next-item")
_OF_TASKS = {
    "compare": replace(
        _TRAINING,
        optional_models=frozenset({"init", "teacher"}) | BESIDE,
        beside=BESIDE,
        optional_datasets=frozenset({"unlabelled"}),
        data=None,
        task=None,
    ),
    "estimate": _TRAINING,
    "evaluate": replace(_MEASURING, optional_models=BESIDE, beside=BESIDE, data=None, task=None),
    "predict": _MEASURING,
    "update": _UPDATING,
}
_READ_BY: dict[str, DataKind] = {trained.task: trained.data for trained in METHODS.values()}
_IN_WORDS = {
    "images": "pictures",
    "events": "events",
    "image-classification": "classifies pictures",
    "next-item": "recommends items",
}
_ASKED_INSTEAD = {
    ("predict", "next-item"): " A deployment of it is asked by POST /v1/recommendations, or `octavo recommend`.",
}


def roles_of(method: str) -> Roles:
    """The roles of a training method or of a task."""
    trained = METHODS.get(method)
    if trained is not None:
        return replace(
            _TRAINING,
            models=trained.models,
            optional_models=_TRAINING.optional_models | trained.beside,
            beside=trained.beside,
            optional_datasets=trained.optional_datasets,
            data=trained.data,
            task=trained.task,
        )
    return _OF_TASKS.get(method, _READS_NOTHING)


def _reads(spec: JobSpec) -> Roles:
    """The roles of a job; an estimate reads what the training would."""
    return roles_of(spec.config.of if isinstance(spec.config, EstimateConfig) else spec.method)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A version of a data set that is made before the job runs; `kind` is None where only validation will tell."""

    name: str
    version: int
    kind: DataKind | None

    @property
    def reference(self) -> Reference:
        """How a request names it."""
        return Reference(self.name)


def pin(session: Session, project_id: UUID, spec: JobSpec, upcoming: Upcoming | None = None) -> JobSpec:
    """The spec with every reference as `name@version` and the digest of that version beside it.

    Args:
        upcoming: what the bare name of this data set means; the job must read it. It has no digest yet.

    Raises:
        RequestRefused: roles are missing or unknown, or references mean nothing usable; a fault for each.
    """
    roles = _reads(spec)
    found = _Pins(spec, upcoming)
    found.check_roles("datasets", roles.datasets, roles.optional_datasets, spec.method)
    found.check_roles("models", roles.models, roles.optional_models, spec.method)
    found.resolve("models", lambda text: models.resolve(session, project_id, text), roles)
    found.check_measured(roles)
    found.resolve("datasets", lambda text: datasets.resolve(session, project_id, text), roles)
    found.check_expected()
    if isinstance(spec.config, ImportConfig):
        found.check_upload(lambda artifact_id: find_upload(session, project_id, artifact_id), spec.config.artifact)
    return found.pinned()


class _Pins:
    """Collects what the references of one spec mean, and everything that is wrong with them."""

    def __init__(self, spec: JobSpec, upcoming: Upcoming | None) -> None:
        self._spec = spec
        self._upcoming = upcoming
        self._given: dict[str, dict[str, str]] = {"datasets": spec.datasets, "models": spec.models}
        self._pinned: dict[str, dict[str, str]] = {"datasets": {}, "models": {}}
        self._digests: dict[str, str] = {}
        self._output_model = spec.output_model
        self._data: DataKind | None = None
        self._expected: set[str] = set()
        self._faults: list[Fault] = []

    def check_roles(self, kind: str, required: frozenset[str], optional: frozenset[str], method: str) -> None:
        made = {"teacher"} if kind == "models" and self._spec.teacher is not None else set()
        given = self._given[kind].keys() | made
        for role in sorted(required - given):
            what = "data set" if kind == "datasets" else "model"
            self._refuse((kind, role), f"{method} needs the name of a {what} for the role {role!r}.")
        known = required | optional
        for role in sorted(given - known):
            takes = f"Roles: {', '.join(sorted(known))}." if known else f"It takes no {kind}."
            path = (role,) if role in made else (kind, role)
            self._refuse(path, f"{method} has no role {role!r} for {kind}. {takes}")

    def resolve(self, kind: str, find: Callable[[str], ReadyVersion | ModelVersion], roles: Roles) -> None:
        for role, text in self._given[kind].items():
            if kind == "datasets" and self._is_upcoming(text):
                self._expect(role, roles)
                continue
            try:
                version = find(text)
            except RegistryError as error:
                self._refuse((kind, role), str(error))
                continue
            if isinstance(version, ModelVersion) and role in roles.beside:
                self._check_beside((kind, role), version)
            else:
                self._check_kind((kind, role), version, roles)
                if isinstance(version, ModelVersion):
                    self._data = _READ_BY.get(version.task)
                    self._check_update(version, parse_reference(text).name)
            self._pinned[kind][role] = f"{parse_reference(text).name}@{version.version}"
            self._note_digest(f"{kind}/{role}", version.digest)

    def _is_upcoming(self, text: str) -> bool:
        return self._upcoming is not None and parse_reference(text) == self._upcoming.reference

    def _expect(self, role: str, roles: Roles) -> None:
        """A role reads the version that is made before the job runs."""
        assert self._upcoming is not None
        path, place = ("datasets", role), f"datasets/{role}"
        if self._upcoming.kind is not None:
            self._check_data(path, self._upcoming.kind, roles)
        if place in self._spec.digests:
            self._refuse(("digests", place), "It is made before the job runs, so its content is not known yet.")
        self._pinned["datasets"][role] = f"{self._upcoming.name}@{self._upcoming.version}"
        self._expected.add(place)

    def check_expected(self) -> None:
        if self._upcoming is not None and not self._expected:
            name = self._upcoming.name
            self._refuse(("datasets",), f"No role reads {name!r}, which is made first: write its name, no version.")

    def _check_kind(self, path: tuple[str, ...], version: ReadyVersion | ModelVersion, roles: Roles) -> None:
        """Refuse a data set of another kind or a model of another task than the job reads."""
        if isinstance(version, ReadyVersion):
            self._check_data(path, version.kind, roles)
        elif roles.task is not None and version.task != roles.task:
            does, needs = _IN_WORDS[version.task], _IN_WORDS[roles.task]
            hint = _ASKED_INSTEAD.get((self._spec.method, version.task), "")
            self._refuse(path, f"The model {does}; {self._spec.method} needs one that {needs}.{hint}")

    def _check_beside(self, path: tuple[str, ...], version: ModelVersion) -> None:
        """Refuse what does not recommend, or was trained by another method than its role says."""
        role, architecture = path[-1], version.bundle["architecture"]
        if version.task != "next-item":
            self._refuse(path, f"The model {_IN_WORDS[version.task]}; beside others stand models that recommend items.")
        elif architecture != role:
            self._refuse(path, f"The model is one of {architecture}; the role {role!r} takes one of {role}.")

    def check_measured(self, roles: Roles) -> None:
        """Refuse models beside one that recommends nothing, where a job takes a model of any task."""
        if roles.task is not None or self._data in (None, "events"):
            return
        for role in sorted(roles.beside & self._given["models"].keys()):
            message = (
                "The model to be measured classifies pictures; only one that recommends items has others beside it."
            )
            self._refuse(("models", role), message)

    def _check_data(self, path: tuple[str, ...], kind: str, roles: Roles) -> None:
        wanted = roles.data or self._data
        if wanted is not None and kind != wanted:
            who = self._spec.method if roles.data else "the model"
            self._refuse(path, f"The data set holds {_IN_WORDS[kind]}; {who} needs {_IN_WORDS[wanted]}.")

    def _check_update(self, parent: ModelVersion, name: str) -> None:
        """An update adds to its parent's model; its changes must be hyper-parameters of the parent's method."""
        config = self._spec.config
        if not isinstance(config, UpdateConfig) or parent.task != "next-item":
            return
        self._output_model = self._output_model or name
        if config.promote is not None:
            try:
                check_alias(config.promote)
            except BadReference as error:
                self._refuse(("config", "promote"), str(error))
        try:
            config.of_parent(parent.method, parent.lineage.get("config", {}))
        except UnknownMethodError as error:
            self._refuse(("models", "init"), f"It was made by no training method, so it cannot be updated. {error}")
        except ValidationError as error:
            for problem in error.errors():
                path = ("config", "config", *(str(part) for part in problem["loc"]))
                self._refuse(path, f"{parent.method}: {problem['msg']}.")

    def check_upload(self, find: Callable[[UUID], object], artifact_id: UUID) -> None:
        try:
            find(artifact_id)
        except RegistryError as error:
            self._refuse(("config", "artifact"), str(error))

    def _note_digest(self, place: str, digest: str) -> None:
        wanted = self._spec.digests.get(place, digest)
        if wanted != digest:
            self._refuse(("digests", place), f"The reference now means content {digest}.")
        self._digests[place] = digest

    def _refuse(self, path: tuple[str, ...], message: str) -> None:
        self._faults.append(Fault(path, message))

    def pinned(self) -> JobSpec:
        for place in self._spec.digests.keys() - self._digests.keys() - self._expected:
            self._refuse(("digests", place), "There is no such reference in `datasets` or `models`.")
        if self._faults:
            raise RequestRefused(sorted(self._faults, key=lambda fault: fault.path))
        settled = {**self._pinned, "digests": self._digests, "output_model": self._output_model}
        return self._spec.model_copy(update=settled)
