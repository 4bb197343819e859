"""The form that changes a schedule: what it was given is filled in, and what the form does not show stays as it is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from libs.jobs import schedules as registry
from libs.web.auth import Caller
from libs.web.problems import FieldProblem, UnprocessableError, validation_problem
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.jobs.new import Given, teacher_apart, texts_of_spec
from services.gateway.dashboard.schedules import new
from services.gateway.dashboard.schedules.new import ScheduleForm
from services.gateway.dashboard.schema_fields import untouched
from services.gateway.schedules import service
from services.gateway.schedules.schemas import Schedule, ScheduleChange

_NOT_SHOWN = "validation"
"""The part of a data set that the form has no fields for."""
_CHANGED_MEANWHILE = (
    "The schedule was changed after this page was loaded, by somebody else or in another window. Sent once more, what "
    "stands here replaces that."
)


@dataclass(frozen=True, slots=True)
class Editing:
    """A schedule and the form that changes it.

    Attributes:
        seen: stands for the plan that the form began with.
        keeps_validation: whether the plan says how its data set is checked, which the form does not show, and keeps.
    """

    schedule: Schedule
    form: ScheduleForm
    seen: str
    keeps_validation: bool


def page(
    session: Session, caller: Caller, name: str, typed: FormData | None = None, problems: Sequence[FieldProblem] = ()
) -> Editing:
    """The form, filled in with the schedule's plan, or with what was typed and what is wrong with it.

    Raises:
        ScheduleNotFound: there is none of this name.
    """
    schedule = service.detail(session, caller.project_id, name)
    if typed is None:
        given = Given(_texts_of(schedule))
    else:
        given = Given(new.read_form(schedule.job["method"], typed, named=False)[1], problems)
    form = _form(session, caller, schedule, given)
    return Editing(schedule, form, _seen(schedule), keeps_validation=_NOT_SHOWN in (schedule.dataset or {}))


def change(session: Session, caller: Caller, name: str, form: FormData, data_roots: str) -> None:
    """Give the schedule the plan that the form stands for.

    Raises:
        ScheduleNotFound: there is none of this name.
        UnprocessableError, RequestRefused: something is wrong with the plan, or it changed since the form was shown.
        ForbiddenError: it makes data sets, and the visitor's key may not.
    """
    registry.lock(session, caller.project_id, name)
    schedule = service.detail(session, caller.project_id, name)
    if form.get("seen") != _seen(schedule):
        raise UnprocessableError(_CHANGED_MEANWHILE)
    method = schedule.job["method"]
    shown = _form(session, caller, schedule, Given(_texts_of(schedule)))
    before, _ = new.read_form(method, FormData(list(untouched(shown.fields))), named=False)
    after, _ = new.read_form(method, form, named=False)
    try:
        wanted = ScheduleChange.model_validate(changed(_plan(schedule), before, after))
    except ValidationError as error:
        raise validation_problem(error) from None
    service.replace(session, caller.project_id, name, service.read_plan(caller, wanted), data_roots)


def changed(stored: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """`stored` with what was changed in a form between `before` and `after`; what the form did not show is kept."""
    found = {name: part for name, part in stored.items() if name not in before}
    for name, part in after.items():
        both = isinstance(part, Mapping) and isinstance(stored.get(name), Mapping)
        found[name] = changed(stored[name], before.get(name, {}), part) if both else part
    return found


def _form(session: Session, caller: Caller, schedule: Schedule, given: Given) -> ScheduleForm:
    return new.form_of(session, caller, schedule.job["method"], given, named=False)


def _plan(schedule: Schedule) -> dict[str, Any]:
    """What `PUT /v1/schedules/{name}` would take to leave it as it is."""
    plan = schedule.model_dump(mode="json", include=set(ScheduleChange.model_fields))
    return {**plan, "job": teacher_apart(schedule.job)}


def _texts_of(schedule: Schedule) -> dict[str, str]:
    plan = _plan(schedule)
    if plan["dataset"] is not None:
        plan["dataset"] = {name: part for name, part in plan["dataset"].items() if name != _NOT_SHOWN}
    return {**new.own_texts(plan), **texts_of_spec(schedule.job, defaults=True)}


def _seen(schedule: Schedule) -> str:
    return hashlib.sha256(json.dumps(_plan(schedule), sort_keys=True).encode()).hexdigest()[:32]
