"""The catalog of methods and tasks, as the API shows it."""

from libs.jobs.references import roles_of
from libs.jobs.tasks import TASKS, PlatformTask
from libs.models.catalog import METHODS, Method, UnknownMethodError
from libs.models.compare_config import baselines_of
from services.gateway.methods.schemas import MethodDetail, MethodSummary


def listing() -> list[MethodSummary]:
    """Methods first, then tasks, each by name."""
    methods = [_summary(METHODS[name]) for name in sorted(METHODS)]
    return methods + [_summary(TASKS[name]) for name in sorted(TASKS)]


def detail(name: str) -> MethodDetail:
    """One method or task with its roles and its config schema.

    Raises:
        UnknownMethodError: there is none of that name.
    """
    entry = TASKS.get(name) or METHODS.get(name)
    if entry is None:
        raise UnknownMethodError(name, [*METHODS, *TASKS])
    schema = entry.config.model_json_schema()
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    roles = roles_of(entry.name)
    return MethodDetail(
        **_summary(entry).model_dump(),
        datasets=sorted(roles.datasets),
        optional_datasets=sorted(roles.optional_datasets),
        models=sorted(roles.models),
        optional_models=sorted(roles.optional_models),
        beside=sorted(roles.beside),
        baselines=sorted(baselines_of(entry)) if isinstance(entry, Method) else [],
        config_schema=schema,
        defaults=defaults,
    )


def _summary(entry: Method | PlatformTask) -> MethodSummary:
    if isinstance(entry, PlatformTask):
        return MethodSummary(
            name=entry.name, kind="task", title=entry.name, summary=entry.summary, task=None, data=None, reference=""
        )
    return MethodSummary(
        name=entry.name,
        kind="method",
        title=entry.title,
        summary=entry.summary,
        task=entry.task,
        data=entry.data,
        reference=entry.reference,
    )
