"""The form of a schedule: when, what is made first, and the form of a job; and a new schedule of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from libs.web.auth import Caller
from libs.web.problems import FieldProblem, validation_problem
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.jobs import new
from services.gateway.dashboard.jobs.new import Given, NewJob
from services.gateway.dashboard.schema_fields import (
    Field,
    Typed,
    about,
    by_field,
    fields_of,
    json_of,
    shown_values,
    typed_values,
)
from services.gateway.schedules import service
from services.gateway.schedules.schemas import Schedule, ScheduleRequest

_LABELS = {
    "schedule/every_s": "or every so many seconds",
    "schedule/timezone": "time zone",
    "schedule/dataset": "Make a version of a data set",
}
_WHEN = ("name", "cron", "every_s", "timezone", "overlap", "misfire")


def _schema() -> dict[str, Any]:
    """What a schedule has beside its job. A file cannot be sent again and again, so that nothing is uploaded here."""
    schema = ScheduleRequest.model_json_schema()
    of_source = schema["$defs"]["Source"]["properties"]
    del of_source["upload"], schema["$defs"]["DatasetRequest"]["properties"]["validation"]
    properties = {name: schema["properties"][name] for name in (*_WHEN, "dataset")}
    return {**schema, "properties": properties, "required": ("name",)}


_SCHEMA = _schema()


def _own_fields(typed: Typed, *, named: bool) -> list[Field]:
    """The fields beside those of the job; the name, which stays what it is, only where it is asked for."""
    fields = fields_of(_SCHEMA, typed, "schedule/")
    return [field for field in fields if named or field.name != "schedule/name"]


def own_texts(plan: Mapping[str, Any]) -> dict[str, str]:
    """The texts that stand for a plan beside its job, each part of it that has a field."""
    return typed_values(_SCHEMA, plan, "schedule/", defaults=True)


@dataclass(frozen=True, slots=True)
class ScheduleForm:
    """The form.

    Attributes:
        when: name, where it is asked for, and times.
        dataset: what is made before each job.
        problems: what is wrong, the field each is about first; of none when it is not about a field of the form.
    """

    when: list[Field]
    dataset: Field
    job: NewJob
    problems: list[tuple[Field | None, str]]

    @property
    def fields(self) -> list[Field]:
        """Every field of the form."""
        return [*self.when, self.dataset, *self.job.fields]


def form_of(session: Session, caller: Caller, method: str, given: Given, *, named: bool = True) -> ScheduleForm:
    """The form of a schedule that submits jobs of a method.

    Args:
        named: whether it asks for a name.

    Raises:
        UnknownMethodError: there is none of that name.
    """
    of_job, own = _split(given.errors)
    fields = _own_fields(Typed(given.values, by_field(own)), named=named)
    *when, dataset = (replace(field, label=_LABELS.get(field.name, field.label)) for field in fields)
    job = new.form_of(session, caller, method, Given(given.values, of_job), pinned=False)
    problems = [about(error, [*when, dataset]) for error in own]
    return ScheduleForm(when, dataset, job, [*problems, *job.problems])


def _split(errors: Sequence[FieldProblem]) -> tuple[list[FieldProblem], list[FieldProblem]]:
    """Problems of the job, by the pointers that its form knows, and those of the schedule itself."""
    of_job = [error for error in errors if error.pointer.startswith("/job/")]
    moved = [error.model_copy(update={"pointer": error.pointer.removeprefix("/job")}) for error in of_job]
    own = [error.model_copy(update={"pointer": f"/schedule{error.pointer}"}) for error in errors if error not in of_job]
    return moved, own


def read_form(method: str, form: FormData, *, named: bool = True) -> tuple[dict[str, Any], dict[str, str]]:
    """The API's request that the form stands for, and the texts that were typed.

    Raises:
        UnknownMethodError: there is no such method or task.
    """
    job, texts = new.read_form(method, form)
    fields = _own_fields(Typed(), named=named)
    own = json_of(fields, form).get("schedule", {})
    return {**own, "job": job}, {**texts, **shown_values(fields, form)}


def create(session: Session, caller: Caller, body: Mapping[str, Any], data_roots: str) -> Schedule:
    """Begin the schedule.

    Raises:
        UnprocessableError, RequestRefused: something is wrong with it.
        ForbiddenError: it makes data sets, and the visitor's key may not.
        ScheduleNameTaken: there is one of this name.
    """
    try:
        request = ScheduleRequest.model_validate(body)
    except ValidationError as error:
        raise validation_problem(error) from None
    return service.create(session, caller.project_id, request, service.read_plan(caller, request), data_roots)
