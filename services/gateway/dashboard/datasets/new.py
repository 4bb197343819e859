"""The form of a new data set: where it comes from, and how it is checked and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from libs.data.config import ValidationConfig
from libs.jobs.dataset_spec import DatasetRequest, Recorded
from libs.web.auth import Caller, Scope
from libs.web.problems import FieldProblem, validation_problem
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.jobs.repository import ready_datasets
from services.gateway.dashboard.schema_fields import Field, Typed, about, by_field, fields_of, json_of, shown_values

_PLAIN_SOURCES = ("public", "path", "upload")
_RECORDED, _VALIDATION = "source/recorded/", "validation/"
_OF_EVENTS = "validation/events/"
_LISTED = 200


@dataclass(frozen=True, slots=True)
class NewDataset:
    """The form.

    Attributes:
        recorded: which events, of those that were sent to Octavo.
        groups: settings of validation by title; shown folded away unless somebody filled one in.
        problems: those that are about none of these fields.
    """

    typed: FormData
    recorded: list[Field]
    groups: list[tuple[str, list[Field], bool]]
    problems: list[FieldProblem]


def form_of(session: Session, caller: Caller, typed: FormData, problems: Sequence[FieldProblem] = ()) -> NewDataset:
    """The form, with what was typed into it and what is wrong."""
    recorded, validation = _fields(Typed(_texts(typed), by_field(problems)))
    may_list = caller.may(Scope.DATASETS_READ)
    known = ready_datasets(session, caller.project_id, "events", _LISTED) if may_list else ()
    bases = (*dict.fromkeys(one.partition("@")[0] for one in known), *known)
    return NewDataset(
        typed=typed,
        recorded=[replace(one, options=bases) if one.name == f"{_RECORDED}base" else one for one in recorded],
        groups=[
            _group("Checking and splitting", [one for one in validation if not one.name.startswith(_OF_EVENTS)]),
            _group("Tables of events", [one for one in validation if one.name.startswith(_OF_EVENTS)]),
        ],
        problems=[problem for problem in problems if about(problem, [*recorded, *validation])[0] is None],
    )


def _fields(typed: Typed) -> tuple[list[Field], list[Field]]:
    recorded = fields_of(Recorded.model_json_schema(), typed, _RECORDED)
    validation = fields_of(ValidationConfig.model_json_schema(), typed, _VALIDATION)
    return recorded, [replace(one, label=one.label.removeprefix("events: ")) for one in validation]


def _texts(form: FormData) -> dict[str, str]:
    if not form.fields:
        return {}
    return {name: text for fields in _fields(Typed()) for name, text in shown_values(fields, form).items()}


def _group(title: str, fields: list[Field]) -> tuple[str, list[Field], bool]:
    return title, fields, any(one.errors or (one.value and one.kind != "switch") for one in fields)


def read_form(form: FormData) -> DatasetRequest:
    """The API's request that the form stands for.

    Raises:
        UnprocessableError: it is not valid; a pointer to each field.
    """
    source = form.get("source")
    recorded, validation = _fields(Typed())
    given: dict[str, Any] = {source: form.get(f"source/{source}")} if source in _PLAIN_SOURCES else {}
    if source == "recorded":
        given = {"recorded": {}, **json_of(recorded, form).get("source", {})}
    body = {"name": form.get("name"), "description": form.get("description"), "source": given}
    try:
        return DatasetRequest.model_validate({**body, **json_of(validation, form)})
    except ValidationError as error:
        raise validation_problem(error) from None
