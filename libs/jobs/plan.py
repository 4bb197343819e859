"""What a request becomes: a job, and the jobs whose models it needs first: its teacher, the runs it compares.

Everything is pinned here and nothing written, so a dry run shows just what a submission would make.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from libs.data.manifest import DataKind
from libs.jobs.dependencies import MODELS, RUNS
from libs.jobs.errors import Fault, RequestRefused
from libs.jobs.fit import check_colours, check_labels, check_start
from libs.jobs.references import Upcoming, pin, roles_of
from libs.jobs.spec import JobSpec
from libs.jobs.teacher import TeacherPlan
from libs.models.catalog import METHODS
from libs.models.compare_config import Arm, BaselineError, CompareConfig
from libs.models.sequences.config import BESIDE
from libs.registry import datasets, models
from libs.registry.references import parse_reference

Path = tuple[str, ...]
TEACHER = f"{MODELS}teacher"
"""Role of the job that makes a job's teacher."""
_COUNTED: Mapping[DataKind, str] = {"images": "pictures", "events": "events"}
"""What a manifest counts in each split, by the kind of data."""


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A job to be submitted after those it needs: role → the job whose model takes that role."""

    spec: JobSpec
    needs: Mapping[str, "Planned"] = field(default_factory=dict)

    def first_to_last(self) -> "Iterator[Planned]":
        """All jobs of the plan, each once, after those it needs."""
        seen: set[Planned] = set()
        for other in self.needs.values():
            for one in other.first_to_last():
                if one not in seen:
                    seen.add(one)
                    yield one
        yield self


def plan(session: Session, project_id: UUID, spec: JobSpec, upcoming: Upcoming | None = None) -> Planned:
    """Pin a request, and plan what it needs first.

    Args:
        upcoming: see `pin`.

    Raises:
        RequestRefused: a reference means nothing usable, or teacher, baselines and data do not fit each other.
    """
    if spec.compare is not None or isinstance(spec.config, CompareConfig):
        return _Comparison(session, project_id, spec, upcoming).planned()
    return _planned_one(session, project_id, spec, upcoming)


def _planned_one(
    session: Session, project_id: UUID, spec: JobSpec, upcoming: Upcoming | None, teacher: Planned | None = None
) -> Planned:
    """One job; its teacher's job is `teacher`, or planned here."""
    if spec.method == "estimate" and isinstance(spec.teacher, TeacherPlan):
        message = "An estimate reads a teacher that exists; what training one costs is an estimate of `supervised`."
        raise RequestRefused([Fault(("teacher",), message)], "invalid_request")
    pinned = _pin(session, project_id, spec, upcoming)
    check_labels(session, project_id, pinned)
    check_start(session, project_id, pinned)
    made = (teacher or _teacher(session, project_id, spec, pinned, upcoming)) if pinned.teacher is not None else None
    named = ("teacher",) if spec.teacher is not None else ("models", "teacher")
    _check_classes(session, project_id, pinned, named, made, upcoming)
    if made is not None and isinstance(pinned.teacher, TeacherPlan):
        check_colours(session, project_id, pinned, made.spec, _place_in_teacher(pinned.teacher, "dataset"))
    else:
        check_colours(session, project_id, pinned, None, named)
    return Planned(pinned, {} if made is None else {TEACHER: made})


def _pin(session: Session, project_id: UUID, spec: JobSpec, upcoming: Upcoming | None) -> JobSpec:
    """Pinned, with a teacher that exists among its models."""
    if not isinstance(spec.teacher, str):
        return pin(session, project_id, spec, upcoming)
    named = spec.model_copy(update={"models": {**spec.models, "teacher": spec.teacher}, "teacher": None})
    try:
        return pin(session, project_id, named, upcoming)
    except RequestRefused as refused:
        raise _moved(refused, {("models", "teacher"): ("teacher",)}) from None


def _moved(refused: RequestRefused, places: Mapping[tuple[str | int, ...], Path]) -> RequestRefused:
    """The same faults where the request has what they are about."""
    faults = [Fault(places.get(fault.path, fault.path), fault.message) for fault in refused.faults]
    return RequestRefused(faults, refused.code)


def _teacher(session: Session, project_id: UUID, spec: JobSpec, pinned: JobSpec, upcoming: Upcoming | None) -> Planned:
    """The job that makes the teacher of a job.

    Args:
        spec: as it was asked for. pinned: the same, pinned.
    """
    wanted = pinned.teacher
    assert isinstance(wanted, TeacherPlan)
    training = wanted.training
    reads, upcoming = _data_of_teacher(training.dataset, spec, pinned, upcoming)
    name = derived_name(pinned, "teacher")
    job = JobSpec(
        method="supervised",
        name=name,
        output_model=name,
        datasets={"train": reads},
        models={} if wanted.init is None else {"init": wanted.init},
        seed=pinned.seed if training.seed is None else training.seed,
        resources=pinned.resources,
        priority=pinned.priority,
        timeout_s=pinned.timeout_s,
        max_attempts=pinned.max_attempts,
        config=training.config,
    )
    places: dict[tuple[str | int, ...], Path] = {
        ("models", "init"): ("teacher", "init"),
        ("datasets", "train"): _place_in_teacher(wanted, "dataset"),
        ("config", "model"): _place_in_teacher(wanted, "model"),
    }
    try:
        job = pin(session, project_id, job, upcoming)
        check_labels(session, project_id, job)
        check_start(session, project_id, job)
    except RequestRefused as refused:
        raise _moved(refused, places) from None
    return Planned(job)


def _place_in_teacher(wanted: TeacherPlan, setting: str) -> Path:
    """Where a request has a setting of the training of its teacher."""
    return "teacher", "finetune" if wanted.train is None else "train", setting


def _data_of_teacher(
    named: str | None, spec: JobSpec, pinned: JobSpec, upcoming: Upcoming | None
) -> tuple[str, Upcoming | None]:
    """What the teacher is trained on, and whether that is made first."""
    own = spec.datasets["train"] if named is None else named
    if upcoming is not None and parse_reference(own) == upcoming.reference:
        return own, upcoming
    return (pinned.datasets["train"] if named is None else named), None


def derived_name(spec: JobSpec, ending: str) -> str:
    """The name of a job that is made for another one."""
    base = spec.output_model or spec.name or default_name(spec)
    return f"{base[: 63 - len(ending)].rstrip('._-')}-{ending}"


def default_name(spec: JobSpec) -> str:
    """First data set or model, and method, as in `digits-frskd` or `digits-afd-compared`."""
    references = [*spec.datasets.values(), *spec.models.values()]
    about = references[0].partition("@")[0] if references else ""
    does = f"{spec.config.of}-compared" if isinstance(spec.config, CompareConfig) else spec.method
    return f"{about[: 63 - len(does)]}-{does}".lstrip("-")


def _check_classes(
    session: Session, project_id: UUID, spec: JobSpec, named: Path, made: Planned | None, upcoming: Upcoming | None
) -> None:
    """Refuse a teacher of other classes where its answers are distilled; features alone need not agree on them.

    Args:
        named: where the request names the teacher.

    Raises:
        RequestRefused: the classes differ, as far as they are known now.
    """
    if getattr(spec.training, "kd_weight", 0) == 0 or upcoming is not None or "train" not in spec.datasets:
        return
    if made is not None and made.spec.datasets["train"] == spec.datasets["train"]:
        return
    if made is not None:
        known = datasets.manifest_of(session, project_id, made.spec.datasets["train"])["classes"]
    elif "teacher" in spec.models:
        known = models.resolve(session, project_id, spec.models["teacher"]).bundle["labels"]
    else:
        return
    classes = datasets.manifest_of(session, project_id, spec.datasets["train"])["classes"]
    if known != classes:
        order = " in another order" if sorted(known) == sorted(classes) else ""
        message = (
            f"The teacher knows {_counted(known)}, the data set has {_counted(classes)}{order}. Its answers teach "
            "nothing about other classes: adapt it with {init: MODEL, finetune: …}, or set kd_weight to 0."
        )
        raise RequestRefused([Fault(named, message)], "classes_differ")


def _counted(classes: list[str]) -> str:
    shown = ", ".join(classes[:10]) + (f" … ({len(classes) - 10} more)" if len(classes) > 10 else "")
    return f"{len(classes)} classes ({shown})"


class _Comparison:
    """Plans the runs of a comparison and the job that sets them side by side."""

    def __init__(self, session: Session, project_id: UUID, spec: JobSpec, upcoming: Upcoming | None) -> None:
        self._session = session
        self._project_id = project_id
        self._upcoming = upcoming
        self._place, asked = _asked(spec)
        self._named = asked.baselines is not None
        self._config = asked.model_copy(update={"baselines": asked.compared_with})  # the usual ones may change one day
        self._request = spec.model_copy(update={"compare": None, "method": self._config.of})
        self._teacher: Planned | None = None

    def planned(self) -> Planned:
        """The whole.

        Raises:
            RequestRefused: see `plan`; faults of a baseline lead to its name.
        """
        arms = self._arms()
        self._check_start()
        pinned = {arm.name: self._pinned(index, arm, arms) for index, arm in enumerate(arms)}
        first = pinned[arms[0].name].spec
        self._check_held_out(first.datasets["train"])
        runs = {
            f"{RUNS}{name}": self._run(pinned[arm.name], first, arm, seed)
            for name, (arm, seed) in self._config.runs().items()
        }
        teacher = {} if self._teacher is None else {TEACHER: self._teacher}
        return Planned(self._whole(first, [one.spec for one in pinned.values()]), {**teacher, **runs})

    def _check_start(self) -> None:
        """Refuse weights that recommenders are to start from: most variants, as all other methods, are other networks.

        Classifiers take them, for there the arms are one network that is trained in several ways.
        """
        of = self._config.of
        if METHODS[of].task == "next-item" and "init" in self._request.models:
            then = f", and name what that makes beside the comparison as models.{of}" if of in BESIDE else ""
            message = (
                "The arms of a comparison of recommenders are different networks: no weights to start from fit all of "
                f"them. Leave init out; or train {of} from it alone{then}."
            )
            raise RequestRefused([Fault(("models", "init"), message)], "invalid_request")

    def _check_held_out(self, dataset: str) -> None:
        """Refuse data of which nothing is held out, before any run is trained.

        A manifest counts events, and not which of them come after another of their user: where none of those held out
        does, the comparison itself ends with an error.
        """
        if self._upcoming is not None:
            return
        splits = datasets.manifest_of(self._session, self._project_id, dataset)["splits"]
        counted = _COUNTED[METHODS[self._config.of].data]
        if not any(splits.get(name, {}).get(counted) for name in ("test", "val")):
            message = f"A comparison is made on {counted} held out; the data set has neither a test nor a val split."
            raise RequestRefused([Fault(("datasets", "train"), message)], "invalid_request")

    def _arms(self) -> list[Arm]:
        try:
            return self._config.arms()
        except BaselineError as error:
            raise RequestRefused([Fault(self._of_baseline(error.index), str(error))], "invalid_request") from None

    def _of_baseline(self, index: int) -> tuple[str | int, ...]:
        """Where the request names a baseline, or could."""
        return (*self._place, "baselines", index) if self._named else (*self._place, "baselines")

    def _pinned(self, index: int, arm: Arm, arms: list[Arm]) -> Planned:
        """One arm, pinned; it reads those of the given data sets and models that its method has a role for."""
        roles = {one.name: roles_of(one.method) for one in arms}
        takes = roles[arm.name].all_datasets, roles[arm.name].all_models
        others = {role for name, one in roles.items() if name != arm.name for role in one.all_datasets | one.all_models}
        if index == 0:  # what no arm reads is refused with the method itself
            given = {*self._given_models(), *self._request.datasets, *(_role(place) for place in self._request.digests)}
            takes = takes[0] | (given - others), takes[1] | (given - others)
        spec = self._request.model_copy(
            update={
                "method": arm.method,
                "config": arm.config,
                "datasets": {role: name for role, name in self._request.datasets.items() if role in takes[0]},
                "models": {role: name for role, name in self._request.models.items() if role in takes[1]},
                "teacher": self._request.teacher if "teacher" in takes[1] else None,
                "digests": {
                    place: d for place, d in self._request.digests.items() if _role(place) in takes[0] | takes[1]
                },
            }
        )
        try:
            one = _planned_one(self._session, self._project_id, spec, self._upcoming, self._teacher)
        except RequestRefused as refused:
            if index == 0:
                raise
            faults = [Fault(self._of_baseline(index - 1), f"{arm.name}: {refused}")]
            raise RequestRefused(faults, refused.code) from None
        self._teacher = one.needs.get(TEACHER, self._teacher)
        digests = {**self._request.digests, **one.spec.digests}  # what a name means must not change between two arms
        self._request = self._request.model_copy(update={"digests": digests})
        return one

    def _given_models(self) -> set[str]:
        return {*self._request.models, *({"teacher"} if self._request.teacher is not None else ())}

    def _run(self, arm: Planned, first: JobSpec, which: Arm, seed: int) -> Planned:
        """One training; what stands beside the comparison is measured by the whole, once."""
        models = {role: name for role, name in arm.spec.models.items() if role not in BESIDE}
        digests = {place: digest for place, digest in arm.spec.digests.items() if _role(place) not in BESIDE}
        changes: dict[str, Any] = {
            "models": models,
            "digests": digests,
            "seed": seed,
            "name": derived_name(first, f"{which.name}-{seed}"),
            "output_model": derived_name(first, which.name),
        }
        return replace(arm, spec=arm.spec.model_copy(update=changes))

    def _whole(self, first: JobSpec, arms: list[JobSpec]) -> JobSpec:
        """The job that waits for the runs; its data and models are those of all arms."""
        merged: dict[str, dict[str, str]] = {
            kind: {role: name for arm in arms for role, name in getattr(arm, kind).items()}
            for kind in ("datasets", "models", "digests")
        }
        teacher = next((arm.teacher for arm in arms if arm.teacher is not None), None)
        whole = {"method": "compare", "config": self._config, "teacher": teacher, **merged}
        return first.model_copy(update=whole)


def _asked(spec: JobSpec) -> tuple[Path, CompareConfig]:
    """Where the request says what is compared, and what that is.

    Raises:
        RequestRefused: the method trains nothing.
    """
    if isinstance(spec.config, CompareConfig):
        if spec.compare is not None:
            raise RequestRefused([Fault(("compare",), "The job is a comparison already.")], "invalid_request")
        return ("config",), spec.config
    assert spec.compare is not None
    if spec.method not in METHODS:
        message = f"Only trainings are compared; {spec.method} trains nothing by itself."
        raise RequestRefused([Fault(("compare",), message)], "invalid_request")
    asked = {"of": spec.method, "config": spec.config.model_dump(), **spec.compare.model_dump()}
    return ("compare",), CompareConfig.model_validate(asked)


def _role(place: str) -> str:
    """`datasets/train` → `train`."""
    return place.partition("/")[2]
