"""The form of a new job: made of the method's JSON Schema, read back into the API's own request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from libs.jobs.references import roles_of
from libs.jobs.spec import JobSpec, config_class
from libs.models.catalog import METHODS
from libs.models.classifier_config import ClassifierConfig
from libs.models.sequences.config import SequenceTrainingConfig
from libs.training.config import ImageTrainingConfig, TrainingConfig
from libs.web.auth import Caller, Scope
from libs.web.problems import FieldProblem
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.jobs import repository
from services.gateway.dashboard.schema_fields import (
    Field,
    Typed,
    about,
    by_field,
    every,
    fields_of,
    json_of,
    shown_values,
    text_of,
    typed_values,
)
from services.gateway.methods import service as methods
from services.gateway.methods.schemas import MethodDetail

_LISTED = 200
_USUAL = ("epochs", "max_steps", "batch_size", "lr", "model", "split", "of", "artifact", "labels")
_SHARED: dict[type[BaseModel], str] = {
    TrainingConfig: "Optimisation and bookkeeping",
    ImageTrainingConfig: "Pictures",
    ClassifierConfig: "Classifier",
    SequenceTrainingConfig: "Sequences",
}
_TEACHER, _COMPARE = "teacher", "compare"
_NOT_OF_JOB = ("method", "datasets", "models", "digests", "config")


_detail = cache(methods.detail)
"""A method does not change while the process lives, and its schema takes a while to make."""


@cache
def _job_schema(method: str) -> dict[str, Any]:
    """The fields of a job beside its method, what it reads and its configuration."""
    schema = JobSpec.model_json_schema()
    left_out = {*_NOT_OF_JOB, *(() if _learns(method) else (_TEACHER,)), *(() if _is_compared(method) else (_COMPARE,))}
    properties = {name: below for name, below in schema["properties"].items() if name not in left_out}
    return {**schema, "properties": properties, "required": ()}


def _is_compared(method: str) -> bool:
    """Whether it may be set beside baselines: a task trains nothing by itself."""
    return method in METHODS


def _learns(method: str) -> bool:
    """Whether it takes a teacher, which may be made first."""
    return _TEACHER in roles_of(method).all_models


@dataclass(frozen=True, slots=True)
class Group:
    """Fields under one heading; folded away until somebody needs them, or one of them is wrong."""

    title: str
    fields: list[Field]
    open: bool


@dataclass(frozen=True, slots=True)
class NewJob:
    """The form.

    Attributes:
        references: the data sets and models it reads, each a text with those that fit to pick from, as far as the
            visitor's key may read them.
        lacks: `datasets` and `models`, where one is needed and none is there.
        problems: what is wrong, the field each is about first; of none when it is not about a field of the form.
    """

    method: MethodDetail
    references: list[Field]
    lacks: list[str]
    groups: list[Group]
    problems: list[tuple[Field | None, str]]

    @property
    def fields(self) -> list[Field]:
        """Every field of the form."""
        return [*self.references, *(field for group in self.groups for field in group.fields)]


@dataclass(frozen=True, slots=True)
class Given:
    """What a form begins with: texts by field name."""

    values: Mapping[str, str]
    errors: Sequence[FieldProblem] = ()


def form_of(session: Session, caller: Caller, method: str, given: Given, *, pinned: bool = True) -> NewJob:
    """The form of a method or task.

    Args:
        pinned: versions are offered; else names without one, too, and first.

    Raises:
        UnknownMethodError: there is none of that name.
    """
    detail = _detail(method)
    errors = [_of_teacher(error) if _learns(method) else error for error in given.errors]
    typed = Typed(given.values, by_field(errors))
    references = _references(session, caller, method, typed)
    if not pinned:
        references = [_unpinned(field, typed) for field in references]
    config = fields_of(detail.config_schema, typed, "config/")
    teacher, of_job = _job_groups(session, caller, method, typed)
    groups = [*teacher, *_config_groups(method, detail, config), *of_job]
    form = NewJob(detail, references, _lacks(caller, references), groups, problems=[])
    return replace(form, problems=[about(error, form.fields) for error in errors])


def _lacks(caller: Caller, references: Sequence[Field]) -> list[str]:
    needed = dict.fromkeys(one.name.partition("/")[0] for one in references if one.required and not one.options)
    return [kind for kind in needed if caller.may(f"{kind}:read")]


def _datasets(session: Session, caller: Caller, kind: str | None) -> Sequence[str]:
    if not caller.may(Scope.DATASETS_READ):
        return ()
    return repository.ready_datasets(session, caller.project_id, kind, _LISTED)


def _models(session: Session, caller: Caller, task: str | None, architecture: str | None = None) -> Sequence[str]:
    if not caller.may(Scope.MODELS_READ):
        return ()
    return repository.ready_models(session, caller.project_id, task, _LISTED, architecture)


def _references(session: Session, caller: Caller, method: str, typed: Typed) -> list[Field]:
    roles = roles_of(method)
    datasets = _datasets(session, caller, roles.data) if roles.all_datasets else ()
    models = _models(session, caller, roles.task) if roles.all_models else ()
    elsewhere = {_TEACHER} | roles.beside  # a teacher has a choice of its own: it may be made first
    data, model, beside = "Data set", "Model", "Measured beside it"
    wanted = [
        *((data, f"datasets/{role}", datasets, True) for role in sorted(roles.datasets)),
        *((data, f"datasets/{role}", datasets, False) for role in sorted(roles.optional_datasets)),
        *((model, f"models/{role}", models, True) for role in sorted(roles.models - elsewhere)),
        *((model, f"models/{role}", models, False) for role in sorted(roles.optional_models - elsewhere)),
        *(
            (beside, f"models/{role}", _models(session, caller, "next-item", role), False)
            for role in sorted(roles.beside)
        ),
    ]
    return [_reference(words, name, options, typed, required=needed) for words, name, options, needed in wanted]


def _reference(words: str, name: str, options: Sequence[str], typed: Typed, *, required: bool) -> Field:
    value = typed.values.get(name, options[0] if required and len(options) == 1 else "")
    return Field(
        name=name,
        label=f"{words}: {name.partition('/')[2]}",
        kind="text",
        required=required,
        options=tuple(options),
        value=value,
        errors=typed.errors.get(name, ()),
    )


def _unpinned(reference: Field, typed: Typed) -> Field:
    """A reference with names to pick from beside versions."""
    names = dict.fromkeys(option.partition("@")[0] for option in reference.options)
    value = typed.values.get(reference.name) or reference.value.partition("@")[0]
    return replace(reference, options=(*names, *reference.options), value=value)


def _config_groups(method: str, detail: MethodDetail, fields: list[Field]) -> list[Group]:
    titles = _titles(method)
    named = {name: [field for field in fields if _first(field) == name] for name in detail.config_schema["properties"]}
    grouped: dict[str, list[Field]] = {"The usual": []}
    grouped |= {title: [] for title in dict.fromkeys(titles.values())}
    for name, of_name in named.items():
        grouped["The usual" if name in _USUAL else titles[name]] += of_name
    own = f"Of {method}"
    return [
        Group(title, found, open=title in ("The usual", own) or _needs_a_look(found))
        for title, found in grouped.items()
        if found
    ]


def _titles(method: str) -> dict[str, str]:
    """Field → heading: that of the class which first declares it, the method's own class first."""
    own = f"Of {method}"
    config = config_class(method)
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if issubclass(kind, BaseModel):
            found = {**{name: _SHARED.get(kind, own) for name in kind.model_fields}, **found}
    return dict(sorted(found.items(), key=lambda item: item[1] != own))


def _first(field: Field) -> str:
    return field.name.split("/")[1]


def _needs_a_look(fields: list[Field]) -> bool:
    return any(field.errors or (field.value and field.kind != "switch") for field in every(fields))


def _of_teacher(error: FieldProblem) -> FieldProblem:
    """A problem of the role `teacher` stands beside the choice of a teacher."""
    pointer = error.pointer.replace(f"/models/{_TEACHER}", f"/{_TEACHER}", 1)
    return error.model_copy(update={"pointer": pointer})


def _job_groups(session: Session, caller: Caller, method: str, typed: Typed) -> tuple[list[Group], list[Group]]:
    """The teacher, where there is one, and the rest: comparison, and the job itself."""
    by_title: dict[str, list[Field]] = {"The teacher": [], "Comparison": [], "The job itself": []}
    titles = {_TEACHER: "The teacher", _COMPARE: "Comparison"}
    for field in _job_fields(method, typed):
        by_title[titles.get(field.name, "The job itself")].append(field)
    models = _models(session, caller, roles_of(method).task) if _learns(method) else ()
    teacher = [Group("The teacher", [_teacher(one, models)], open=True) for one in by_title.pop("The teacher")]
    rest = [Group(title, fields, open=_needs_a_look(fields)) for title, fields in by_title.items() if fields]
    return teacher, rest


def _teacher(field: Field, models: Sequence[str]) -> Field:
    """The choice of a teacher: a model that is there, with those that fit to pick from, or one that is made first."""
    named, made = field.variants
    (reference,) = named.fields
    named = replace(
        named, title="a model that is there", fields=(replace(reference, label="model", options=tuple(models)),)
    )
    words = "It classifies the same pictures. One that is made first is a job of its own, which this one waits for."
    return replace(field, help=words, required=True, variants=(named, replace(made, title="one that is made first")))


def _job_fields(method: str, typed: Typed) -> list[Field]:
    fields = fields_of(_job_schema(method), typed)
    helps = {
        "seed": "Of every random choice; the same seed gives the same weights.",
        "priority": "Higher ones are taken first.",
        "timeout_s": "Seconds an attempt may take. Empty: as long as it takes.",
    }
    shown = [replace(field, help=field.help or helps.get(field.name, "")) for field in fields]
    return [replace(field, label=field.label.removeprefix("resources: ")) for field in shown]


def read_form(method: str, form: FormData) -> tuple[dict[str, Any], dict[str, str]]:
    """The API's request that the form stands for, and the texts that were typed.

    Raises:
        UnknownMethodError: there is no such method or task.
    """
    detail = _detail(method)
    fields = [*fields_of(detail.config_schema, Typed(), "config/"), *_job_fields(method, Typed())]
    body: dict[str, Any] = {"method": method, "config": {}, **json_of(fields, form)}
    texts = shown_values(fields, form)
    for kind in ("datasets", "models"):
        body[kind] = dict(form.below(f"{kind}/"))
        texts |= {f"{kind}/{role}": text for role, text in body[kind].items()}
    return body, texts


def as_asked(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request of a job: a comparison is stored as one of the task `compare`, and was asked of the method itself."""
    if spec["method"] != _COMPARE:
        return spec
    stored = spec["config"]
    compare = {name: stored[name] for name in ("seeds", "baselines")}
    return {**spec, "method": stored["of"], "config": stored["config"], _COMPARE: compare}


def texts_of_spec(spec: Mapping[str, Any], *, defaults: bool = False) -> dict[str, str]:
    """What a form shows that makes a job like one that exists: its values; if `defaults`, also where they are that."""
    spec = teacher_apart(spec)
    schema, config = config_class(spec["method"]).model_json_schema(), spec.get("config") or {}
    of_config = typed_values(schema, config, "config/", defaults=defaults)
    of_job = typed_values(_job_schema(spec["method"]), spec, defaults=defaults)
    references = {
        f"{kind}/{role}": text_of(text) for kind in ("datasets", "models") for role, text in spec.get(kind, {}).items()
    }
    return {**of_config, **references, **of_job}


def teacher_apart(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same request, its teacher where the form has it: beside the other models, and not among them."""
    models = dict(spec.get("models", {}))
    named = models.pop(_TEACHER, None) if _learns(spec["method"]) else None
    return spec if named is None else {**spec, "models": models, _TEACHER: named}
