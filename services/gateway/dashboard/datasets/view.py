"""What the page of a data set shows: its statistics and what validation found, put in order for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from libs.web.problems import NotFoundError
from services.gateway.dashboard.formats import figure
from services.gateway.dashboard.session.service import Visitor
from services.gateway.datasets import service
from services.gateway.datasets.schemas import DatasetDetail, DatasetVersion

CLASSES = 60
_COLUMNS = ("user", "item", "time", "type")
_SHOWN = frozenset({"problems", "problem_counts", "preview", "classes", "splits", "notes", "duplicates"})
"""Parts of a report that the page shows in their own way; the rest is listed as it is."""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Pictures of one class by split, and its share of the largest class."""

    name: str
    counts: list[int]
    total: int
    share: float


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """A data set, one of its versions, and what is known of that one.

    Attributes:
        report: what validation found; empty until it has ended.
        manifest: figures of a ready version.
    """

    dataset: DatasetDetail
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


def dataset_page(session: Session, visitor: Visitor, name: str, number: int | None) -> DatasetPage:
    """The page of a data set, at its newest version unless another is asked for.

    Raises:
        DatasetNotFound, NotFoundError: there is no such data set, or no such version of it.
    """
    project_id = visitor.caller.project_id
    dataset = service.detail(session, project_id, name)
    versions = dataset.versions
    version = next((one for one in versions if number in (None, one.version)), None)
    if version is None and number is not None:
        raise NotFoundError(f"Data set {name!r} has no version {number}.")
    if version is None:
        return DatasetPage(dataset, None, {}, {})
    ended = version.status in ("ready", "invalid")
    report = service.report(session, project_id, name, version.version).report if ended else {}
    ready = version.status == "ready"
    manifest = service.statistics(session, project_id, name, version.version).manifest if ready else {}
    return DatasetPage(dataset, version, report, manifest)
