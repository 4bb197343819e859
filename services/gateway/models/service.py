"""Models, versions, aliases, lineage and comparison, as the API shows them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Model as ModelRow
from libs.database.tables import ModelAlias, ModelVersion
from libs.registry import aliases as alias_registry
from libs.registry import models as registry
from libs.registry.errors import RegistryError
from libs.registry.lineage import compare as compare_versions
from libs.registry.lineage import lineage_graph
from libs.web.etags import expected_revision, wants_absent
from libs.web.paging import Page, decode_cursor
from libs.web.problems import FieldProblem, PreconditionRequiredError, UnprocessableError
from services.gateway.models import repository
from services.gateway.models.schemas import (
    Alias,
    Comparison,
    Difference,
    FactChange,
    Lineage,
    LineageEdge,
    LineageNode,
    MetricChange,
    Model,
    ModelDetail,
    VersionDetail,
    VersionSummary,
)
from services.gateway.paging import SHOWN_VERSIONS, page_of


def listing(session: Session, project_id: UUID, cursor: str | None, limit: int) -> Page[Model]:
    """A page of models, newest first."""
    after = decode_cursor(cursor, "models", {})
    rows = repository.page(session, project_id, after, limit + 1)
    return page_of(rows, limit, "models", {}, Model.model_validate)


def detail(session: Session, project_id: UUID, name: str) -> ModelDetail:
    """A model with its aliases and newest versions."""
    row = registry.find_model(session, project_id, name)
    newest = repository.version_page(session, row.id, None, SHOWN_VERSIONS)
    versions = [_summary(version, name) for version in newest]
    return ModelDetail(**Model.model_validate(row).model_dump(), aliases=_aliases(session, row), versions=versions)


def _aliases(session: Session, model: ModelRow) -> list[Alias]:
    return [alias_of(row, model.name, version) for row, version in alias_registry.list_aliases(session, model)]


def alias_list(session: Session, project_id: UUID, name: str) -> list[Alias]:
    """A model's aliases by name."""
    return _aliases(session, registry.find_model(session, project_id, name))


def versions(session: Session, project_id: UUID, name: str, cursor: str | None, limit: int) -> Page[VersionSummary]:
    """A page of a model's versions, newest first."""
    model = registry.find_model(session, project_id, name)
    filters = {"model": model.id}
    after = decode_cursor(cursor, "versions", filters)
    rows = repository.version_page(session, model.id, after, limit + 1)
    return page_of(rows, limit, "versions", filters, lambda row: _summary(row, name))


def find_version(session: Session, project_id: UUID, name: str, number: int) -> ModelVersion:
    """A version, whatever its status."""
    return registry.resolve(session, project_id, f"{name}@{number}", ready=False)


def version(session: Session, project_id: UUID, name: str, number: int) -> VersionDetail:
    """One version."""
    row = find_version(session, project_id, name, number)
    return VersionDetail(**_summary(row, name).model_dump(), bundle=row.bundle, gates=row.gates, lineage=row.lineage)


def set_alias(
    session: Session,
    project_id: UUID,
    name: str,
    alias: str,
    target: int,
    if_match: str | None,
    if_none_match: str | None = None,
) -> Alias:
    """Point an alias at a version, if it is where the caller last saw it.

    Raises:
        PreconditionRequiredError: the alias exists and no `If-Match` came.
        AliasConflict: it is at another revision, or it exists and should not.
    """
    must_be_new = wants_absent(if_none_match)
    expected = expected_revision(if_match)
    if if_match is None and not must_be_new and _exists(session, project_id, name, alias):
        raise PreconditionRequiredError(
            f"Alias {alias!r} exists: send its ETag as If-Match (or `If-Match: *` to move it wherever it is)."
        )
    row = alias_registry.set_alias(session, project_id, name, alias, target, expected)
    session.refresh(row)
    return alias_of(row, name, target)


def _exists(session: Session, project_id: UUID, name: str, alias: str) -> bool:
    return any(found.alias == alias for found in alias_list(session, project_id, name))


def alias(session: Session, project_id: UUID, name: str, alias: str) -> Alias:
    """One alias."""
    row, target = alias_registry.get_alias(session, project_id, name, alias)
    return alias_of(row, name, target.version)


def delete_alias(session: Session, project_id: UUID, name: str, alias: str, if_match: str | None) -> None:
    """Remove an alias, if it is where the caller last saw it; without `If-Match`, wherever it is."""
    expected = alias_registry.ANY_REVISION if if_match is None else expected_revision(if_match)
    alias_registry.delete_alias(session, project_id, name, alias, expected)


def alias_of(row: ModelAlias, model: str, target: int) -> Alias:
    """An alias row over HTTP."""
    return Alias(model=model, alias=row.alias, version=target, revision=row.revision, updated_at=row.updated_at)


def lineage(session: Session, project_id: UUID, name: str, number: int) -> Lineage:
    """Everything a version was made from, and everything that was made from it."""
    row = find_version(session, project_id, name, number)
    graph = lineage_graph(session, row)
    return Lineage(
        id=f"model_version:{row.id}",
        nodes=[LineageNode.model_validate(node) for node in graph.nodes.values()],
        edges=[LineageEdge.model_validate(edge) for edge in graph.edges],
        complete=graph.complete,
        seed=row.lineage.get("seed"),
        code_version=row.lineage.get("code_version", ""),
        config=row.lineage.get("config", {}),
    )


def compare(session: Session, project_id: UUID, references: Sequence[str]) -> Comparison:
    """The first version beside each of the others.

    Raises:
        UnprocessableError: a reference means nothing; a pointer to each.
    """
    base, *others = _resolve_all(session, project_id, references)
    return Comparison(base=_named_summary(session, base), against=[_difference(session, base, row) for row in others])


def _difference(session: Session, base: ModelVersion, other: ModelVersion) -> Difference:
    found = compare_versions(base, other)
    return Difference(
        version=_named_summary(session, other),
        metrics={name: MetricChange.model_validate(change) for name, change in found.metrics.items()},
        config={name: FactChange.model_validate(change) for name, change in found.config.items()},
        facts={name: FactChange.model_validate(change) for name, change in found.facts.items()},
    )


def _resolve_all(session: Session, project_id: UUID, references: Sequence[str]) -> list[ModelVersion]:
    rows, problems = [], []
    for index, text in enumerate(references):
        try:
            rows.append(registry.resolve(session, project_id, text, ready=False))
        except RegistryError as error:
            problems.append(FieldProblem(pointer=f"/version/{index}", message=str(error), location="query"))
    if problems:
        raise UnprocessableError(problems[0].message, code="invalid_reference", errors=problems)
    return rows


def _named_summary(session: Session, row: ModelVersion) -> VersionSummary:
    return _summary(row, repository.model_name(session, row.model_id))


def _summary(row: ModelVersion, model: str) -> VersionSummary:
    shared = VersionSummary.model_fields.keys() - {"model"}
    return VersionSummary(model=model, **{name: getattr(row, name) for name in shared})
