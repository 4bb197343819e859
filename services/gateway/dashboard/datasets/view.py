"""What the page of a data set shows: its statistics and what validation found, put in order for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from libs.database.tables import Dataset
from libs.registry import datasets as registry
from libs.web.paging import Page, decode_cursor
from services.gateway.dashboard.datasets import repository
from services.gateway.dashboard.formats import figure
from services.gateway.dashboard.session.service import Visitor
from services.gateway.datasets import service
from services.gateway.datasets.schemas import DatasetVersion
from services.gateway.paging import page_of

CLASSES = 60
_COLUMNS = ("user", "item", "time", "type")
_SHOWN = frozenset({"problems", "problem_counts", "preview", "classes", "splits", "notes", "duplicates"})
"""Parts of a report that the page shows in their own way; the rest is listed as it is."""


class Listed(NamedTuple):
    """A version in the list."""

    version: int
    status: str
    source: Mapping[str, Any]
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Pictures of one class by split, and its share of the largest class."""

    name: str
    counts: list[int]
    total: int
    share: float


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """A data set, some of its versions, one of these, and what is known of that one.

    Attributes:
        report: what validation found; empty until it has ended.
        manifest: figures of a ready version.
    """

    dataset: Dataset
    versions: Page[Listed]
    version: DatasetVersion | None
    report: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What it holds: `images`, `events`, or nothing that is known yet."""
        return str(self.manifest.get("kind", ""))

    @property
    def splits(self) -> dict[str, dict[str, Any]]:
        """The splits, in the order people think of them."""
        found = self.manifest.get("splits", {})
        return {name: found[name] for name in ("train", "val", "test") if name in found}

    @property
    def classes(self) -> list[ClassCount]:
        """The first classes."""
        names = self.manifest.get("classes", [])[:CLASSES]
        by_split = [split["by_class"] for split in self.splits.values()] if names else []
        totals = [sum(counts[label] for counts in by_split) for label in range(len(names))]
        most = max(totals, default=0) or 1
        return [
            ClassCount(name, [counts[label] for counts in by_split], totals[label], totals[label] / most)
            for label, name in enumerate(names)
        ]

    @property
    def more_classes(self) -> int:
        """Classes that are not listed."""
        return max(0, len(self.manifest.get("classes", [])) - CLASSES)

    @property
    def facts(self) -> dict[str, Any]:
        """Figures that are one number or word."""
        plain = {name: value for name, value in self.manifest.items() if isinstance(value, str | int | float)}
        return {name.replace("_", " "): value for name, value in plain.items() if name not in ("kind", "digest")}

    @property
    def findings(self) -> dict[str, str]:
        """The rest of the report in words."""
        known = _SHOWN | self.manifest.keys()
        found = {name.replace("_", " "): _words(value) for name, value in self.report.items() if name not in known}
        return {name: words for name, words in found.items() if words}

    @property
    def problems(self) -> list[dict[str, Any]]:
        """What is wrong, the worst first."""
        found: list[dict[str, Any]] = self.report.get("problems", [])
        return sorted(found, key=lambda problem: problem.get("severity") == "warning")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The first events, the columns in the order people think of them."""
        found: list[dict[str, Any]] = self.report.get("preview", [])
        return [{name: row[name] for name in (*_COLUMNS, *row) if name in row} for row in found]


def _words(value: Any) -> str:
    """A figure, or the figures of a small table; nothing for what is empty."""
    if isinstance(value, dict):
        parts = ((name.replace("_", " "), _words(part)) for name, part in value.items())
        return ", ".join(f"{name} ({words})" if "," in words else f"{name}: {words}" for name, words in parts if words)
    if isinstance(value, list):
        return f"{len(value)} listed" if value else ""
    return figure(value)


def dataset_page(
    session: Session, visitor: Visitor, name: str, number: int | None, cursor: str | None, limit: int
) -> DatasetPage:
    """The page of a data set, at its newest version unless another is asked for.

    Raises:
        DatasetNotFound, DatasetVersionNotFound: there is no such data set, or no such version of it.
    """
    project_id = visitor.caller.project_id
    dataset = registry.find_dataset(session, project_id, name)
    filters = {"dataset": dataset.id}
    rows = repository.versions(session, dataset.id, decode_cursor(cursor, "versions", filters), limit + 1)
    versions = page_of(rows, limit, "versions", filters, lambda row: Listed(*row[1:]))
    shown = number or repository.newest(session, dataset.id)
    if shown is None:
        return DatasetPage(dataset, versions, None, {}, {})
    version = service.version(session, project_id, name, shown)
    ended, ready = version.status in ("ready", "invalid"), version.status == "ready"
    report = service.report(session, project_id, name, shown).report if ended else {}
    manifest = service.statistics(session, project_id, name, shown).manifest if ready else {}
    return DatasetPage(dataset, versions, version, report, manifest)
