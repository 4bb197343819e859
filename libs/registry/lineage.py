"""Where a model version comes from, what was made from it, and how two versions differ. Never commits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, or_, select
from sqlalchemy.dialects.postgresql import array, distinct_on
from sqlalchemy.orm import Session, aliased

from libs.database.tables import CONTENT, PARENTS, Dataset, DatasetVersion, Job, Model, ModelVersion

MAX_NODES = 500
"""A graph is cut off here; `LineageGraph.complete` says so."""

NodeKind = Literal["model_version", "dataset_version", "job", "unknown"]


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in a graph. `id` is `kind:…`; an `unknown` one is known by its digest alone."""

    id: str
    kind: NodeKind
    name: str
    digest: str | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` went into `target` in a role, such as `dataset:train`, `model:init`, `made by` or `made for`."""

    source: str
    target: str
    role: str


@dataclass(slots=True)
class LineageGraph:
    """Nodes and edges, each once."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    complete: bool = True

    def add(self, node: Node) -> str:
        """Put a node in, once."""
        self.nodes.setdefault(node.id, node)
        return node.id

    def join(self, source: Node, target: str, role: str) -> None:
        """Put a node in and an edge from it."""
        edge = Edge(self.add(source), target, role)
        if edge not in self.edges:
            self.edges.append(edge)


def lineage_graph(session: Session, version: ModelVersion) -> LineageGraph:
    """Everything `version` was made from, and every version made from it, directly or not, within its project."""
    graph = LineageGraph()
    reader = _Reader(session, version.project_id)
    start = reader.versions(ModelVersion.id == version.id)
    graph.add(_node(start[0]))
    _walk(graph, start, reader.join_origins)
    _walk(graph, start, reader.join_derived)
    return graph


_Version = Row[*tuple[Any, ...]]
"""Of a version: id, version, digest, job_id, lineage; of its model: name, deleted_at. Bundles, often large, stay."""


def _walk(
    graph: LineageGraph, start: list[_Version], step: Callable[[LineageGraph, list[_Version]], list[_Version]]
) -> None:
    """Go on level by level; the queries are as many as the graph is deep, however wide it is."""
    seen = {version.id for version in start}
    frontier = start
    while frontier and len(graph.nodes) < MAX_NODES:
        found = {version.id: version for version in step(graph, frontier)}
        frontier = [version for version in found.values() if version.id not in seen]
        seen.update(found)
    graph.complete = graph.complete and not frontier


def _job(job_id: UUID, name: str) -> Node:
    return Node(f"job:{job_id}", "job", name)


class _Reader:
    """Reads one level of a project's graph at a time, and joins it to the one before."""

    def __init__(self, session: Session, project_id: UUID) -> None:
        self._session, self._project_id = session, project_id

    def versions(self, *where: ColumnElement[bool]) -> list[_Version]:
        """Versions, newest first."""
        wanted = self._selected(*where).order_by(ModelVersion.created_at.desc())
        return list(self._session.execute(wanted.limit(MAX_NODES)))

    def _oldest(self, digests: set[str]) -> dict[str, _Version]:
        """Of each digest the oldest version: equal bundles may have been registered more than once."""
        wanted = self._selected(ModelVersion.digest.in_(digests)).ext(distinct_on(ModelVersion.digest))
        rows = self._session.execute(wanted.order_by(ModelVersion.digest, ModelVersion.created_at).limit(MAX_NODES))
        return {one.digest: one for one in rows}

    def _selected(self, *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
        return (
            select(
                ModelVersion.id,
                ModelVersion.version,
                ModelVersion.digest,
                ModelVersion.job_id,
                ModelVersion.lineage,
                Model.name,
                Model.deleted_at,
            )
            .join(Model, Model.id == ModelVersion.model_id)
            .where(ModelVersion.project_id == self._project_id, *where)
        )

    def join_origins(self, graph: LineageGraph, level: list[_Version]) -> list[_Version]:
        """Add the jobs, data sets and parents of versions; returns the parents."""
        jobs = self._jobs([version.job_id for version in level if version.job_id is not None])
        datasets = self._datasets({digest for version in level for digest in _digests(version, "dataset").values()})
        wanted = {digest for version in level for digest in _digests(version, "parent").values()}
        parents = self._oldest(wanted) if wanted else {}
        for version in level:
            own = _node(version).id
            if version.job_id in jobs:
                job, asked_for = jobs[version.job_id]
                graph.join(job, own, "made by")
                if asked_for is not None:
                    graph.join(asked_for, job.id, "made for")
            for role, digest in _digests(version, "dataset").items():
                graph.join(datasets.get(digest) or _unknown(digest), own, f"dataset:{role}")
            for role, digest in _digests(version, "parent").items():
                parent = parents.get(digest)
                graph.join(_unknown(digest) if parent is None else _node(parent), own, f"model:{role}")
        return list(parents.values())

    def join_derived(self, graph: LineageGraph, level: list[_Version]) -> list[_Version]:
        """Add the versions that were made from versions, and return them."""
        own = {version.digest: _node(version) for version in level}
        found = self.versions(PARENTS.has_any(array(list(own))))
        for other in found:
            node = _node(other)
            for role, digest in _digests(other, "parent").items():
                if digest in own:
                    graph.add(node)
                    graph.join(own[digest], node.id, f"model:{role}")
        return found

    def _jobs(self, ids: list[UUID]) -> dict[UUID, tuple[Node, Node | None]]:
        """Jobs, and the ones that some were made for: a distillation of its teacher's, a comparison of its runs."""
        parent = aliased(Job)
        both = select(Job.id, Job.name, parent.id.label("parent_id"), parent.name.label("parent_name"))
        rows = self._session.execute(both.outerjoin(parent, parent.id == Job.parent_id).where(Job.id.in_(ids)))
        return {
            row.id: (_job(row.id, row.name), None if row.parent_id is None else _job(row.parent_id, row.parent_name))
            for row in rows
        }

    def _datasets(self, digests: Iterable[str]) -> dict[str, Node]:
        """Data-set versions by the digest of their folder, and by that of their pictures or events."""
        wanted, content = list(digests), CONTENT
        rows = self._session.execute(
            select(
                DatasetVersion.id,
                DatasetVersion.version,
                DatasetVersion.digest,
                content.label("content"),
                Dataset.name,
                Dataset.deleted_at,
            )
            .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
            .where(DatasetVersion.project_id == self._project_id)
            .where(or_(DatasetVersion.digest.in_(wanted), content.in_(wanted)))
            .order_by(DatasetVersion.created_at.desc())
        )
        known: dict[str, Node] = {}
        for row in rows:
            name, gone = f"{row.name}@{row.version}", row.deleted_at is not None
            node = Node(f"dataset_version:{row.id}", "dataset_version", name, row.digest, gone)
            known |= {digest: node for digest in (row.digest, row.content) if digest}
        return known


def _digests(version: _Version, of: Literal["dataset", "parent"]) -> dict[str, str]:
    """Role to digest of what went into a version."""
    found: dict[str, str] = version.lineage.get(f"{of}_digests", {})
    return found


def _node(version: _Version) -> Node:
    name, gone = f"{version.name}@{version.version}", version.deleted_at is not None
    return Node(f"model_version:{version.id}", "model_version", name, version.digest, gone)


def _unknown(digest: str) -> Node:
    return Node(f"digest:{digest}", "unknown", digest[:12], digest)


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact of two versions; None where a version has it not."""

    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side.

    Attributes:
        metrics: every figure either has, `change` = right - left where both have it.
        config: hyper-parameters that differ.
        facts: size, parameters, labels, data and other facts that differ.
    """

    metrics: Mapping[str, Mapping[str, float | None]]
    config: Mapping[str, Difference]
    facts: Mapping[str, Difference]


def compare(left: ModelVersion, right: ModelVersion) -> Comparison:
    """How two versions differ, of one model or of two."""
    return Comparison(
        metrics=_metric_changes(left.metrics, right.metrics),
        config=_differences(left.lineage.get("config", {}), right.lineage.get("config", {})),
        facts=_differences(_facts(left), _facts(right)),
    )


def _metric_changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    changes: dict[str, dict[str, float | None]] = {}
    for name in sorted({*left, *right}):
        a, b = _number(left.get(name)), _number(right.get(name))
        changes[name] = {"left": a, "right": b, "change": b - a if a is not None and b is not None else None}
    return changes


def _number(value: Any) -> float | None:
    """A figure as stored; a JSON column keeps NaN and infinity as strings, which compare with nothing."""
    return float(value) if isinstance(value, int | float) else None


def _differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Difference]:
    names = sorted({*left, *right})
    return {name: Difference(left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}


def _facts(version: ModelVersion) -> dict[str, Any]:
    bundle = version.bundle
    return {
        "method": version.method,
        "status": version.status,
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "architecture": bundle.get("architecture"),
        "parameters": bundle.get("parameters"),
        "labels": bundle.get("labels"),
        "recipe": bundle.get("recipe"),
        "latency": bundle.get("latency"),
        "seed": version.lineage.get("seed"),
        "code_version": version.lineage.get("code_version"),
        "dataset_digests": version.lineage.get("dataset_digests"),
        "parent_digests": version.lineage.get("parent_digests"),
    }
