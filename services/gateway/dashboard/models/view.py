"""What the pages of models show."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from libs.registry import models as registry
from libs.web.paging import Page
from services.gateway.dashboard.models import repository
from services.gateway.dashboard.models.lineage_picture import Picture, picture_of
from services.gateway.models import service
from services.gateway.models.schemas import Alias, Lineage, Model, VersionDetail, VersionSummary

_FIRST = ("test/accuracy", "val/accuracy", "test/nll", "test/ndcg@10", "test/hr@10", "val/ndcg@10", "test/mrr@20")
_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the list."""

    model: Model
    status: str
    method: str
    task: str
    aliases: list[str]


def models_list(session: Session, project_id: UUID, cursor: str | None, limit: int) -> tuple[list[Listed], str | None]:
    """A page of models, and where the next begins; three queries, however many models there are."""
    page: Page[Model] = service.listing(session, project_id, cursor, limit)
    ids = [model.id for model in page.items]
    newest, aliases = repository.newest_versions(session, ids), repository.aliases(session, ids)
    listed = [
        Listed(
            model,
            status=newest[model.id].status if model.id in newest else "",
            method=newest[model.id].method if model.id in newest else "",
            task=newest[model.id].task if model.id in newest else "",
            aliases=aliases.get(model.id, []),
        )
        for model in page.items
    ]
    return listed, page.next_cursor


@dataclass(frozen=True, slots=True)
class Rollback:
    """An alias, and the ready version before the one it points at."""

    alias: Alias
    to: int | None


@dataclass(frozen=True, slots=True)
class ModelPage:
    """A model with its aliases and some of its versions, newest first.

    Attributes:
        columns: figures that the table of versions shows.
        following: where older versions begin.
    """

    model: Model
    aliases: list[Rollback]
    versions: list[VersionSummary]
    columns: list[str]
    following: str | None

    @property
    def ready(self) -> list[VersionSummary]:
        """Versions of these that an alias may point at."""
        return [version for version in self.versions if version.status == "ready"]

    def aliases_at(self, version: int) -> list[str]:
        """The aliases that point at a version."""
        return [one.alias.alias for one in self.aliases if one.alias.version == version]

    def revision(self, alias: str) -> int | None:
        """The revision of an alias as this page shows it."""
        return next((one.alias.revision for one in self.aliases if one.alias.alias == alias), None)


def model_page(session: Session, project_id: UUID, name: str, cursor: str | None, limit: int) -> ModelPage:
    """The page of a model.

    Raises:
        ModelNotFound: there is none of this name.
    """
    model = registry.find_model(session, project_id, name)
    page = service.versions(session, project_id, name, cursor, limit)
    aliases = [
        Rollback(alias, repository.ready_before(session, model.id, alias.version))
        for alias in service.alias_list(session, project_id, name)
    ]
    return ModelPage(Model.model_validate(model), aliases, page.items, _columns(page.items), page.next_cursor)


def _columns(versions: list[VersionSummary]) -> list[str]:
    known = sorted({name for version in versions for name in version.metrics})
    first = [name for name in _FIRST if name in known]
    return [*first, *(name for name in known if name not in first)][:_COLUMNS]


@dataclass(frozen=True, slots=True)
class VersionPage:
    """A version of a model, and its lineage as a picture."""

    version: VersionDetail
    lineage: Lineage
    picture: Picture

    @property
    def facts(self) -> dict[str, Any]:
        """Single figures and words of the bundle."""
        plain = {name: value for name, value in self.version.bundle.items() if isinstance(value, str | int | float)}
        found = {name: value for name, value in plain.items() if name not in ("task", "method")}
        return {name.replace("_", " "): value for name, value in found.items()}

    @property
    def labels(self) -> list[str]:
        """Names of the classes."""
        found: list[str] = self.version.bundle.get("labels", [])
        return found


def version_page(session: Session, project_id: UUID, name: str, number: int) -> VersionPage:
    """The page of a version.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
    """
    lineage = service.lineage(session, project_id, name, number)
    return VersionPage(service.version(session, project_id, name, number), lineage, picture_of(lineage))
