"""Where a model version comes from, what was made from it, and how two versions differ. Never commits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import bindparam, or_, select, text
from sqlalchemy.orm import Session

from libs.database.tables import Dataset, DatasetVersion, Job, Model, ModelVersion

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
    """`source` went into `target` in a role, such as `dataset:train`, `model:init` or `made by`."""

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
    graph.add(_version_nodes(session, [version])[0])
    _walk(session, graph, [version], _join_origins)
    _walk(session, graph, [version], _join_derived)
    return graph


def _walk(session: Session, graph: LineageGraph, start: list[ModelVersion], step: Any) -> None:
    seen = {version.id for version in start}
    frontier = start
    while frontier and len(graph.nodes) < MAX_NODES:
        found: dict[UUID, ModelVersion] = {}
        for version in frontier:
            found.update({other.id: other for other in step(session, graph, version)})
        frontier = [other for other in found.values() if other.id not in seen]
        seen.update(found)
    graph.complete = graph.complete and not frontier


def _join_origins(session: Session, graph: LineageGraph, version: ModelVersion) -> list[ModelVersion]:
    """Add the job, data sets and parents of one version; returns the parents."""
    own = _version_id(version)
    if version.job_id is not None and (job := session.get(Job, version.job_id)) is not None:
        graph.join(Node(f"job:{job.id}", "job", job.name), own, "made by")
    datasets: dict[str, str] = version.lineage.get("dataset_digests", {})
    known = _datasets_by_digest(session, version.project_id, datasets.values())
    for role, digest in datasets.items():
        graph.join(known.get(digest) or _unknown(digest), own, f"dataset:{role}")
    parents: dict[str, str] = version.lineage.get("parent_digests", {})
    found = _versions_by_digest(session, version.project_id, parents.values())
    nodes = {other.digest: node for other, node in zip(found, _version_nodes(session, found), strict=True)}
    for role, digest in parents.items():
        graph.join(nodes.get(digest) or _unknown(digest), own, f"model:{role}")
    return found


_HAS_PARENT = text(
    "jsonb_path_exists(model_versions.lineage, '$.parent_digests.* ? (@ == $digest)', "
    "jsonb_build_object('digest', CAST(:digest AS text)))"
).bindparams(bindparam("digest"))


def _join_derived(session: Session, graph: LineageGraph, version: ModelVersion) -> list[ModelVersion]:
    """Add the versions that were made from one version, and return them."""
    wanted = select(ModelVersion).where(ModelVersion.project_id == version.project_id, _HAS_PARENT)
    found = list(session.scalars(wanted.limit(MAX_NODES), {"digest": version.digest}))
    own = _version_nodes(session, [version])[0]
    for other, node in zip(found, _version_nodes(session, found), strict=True):
        roles = [role for role, digest in other.lineage["parent_digests"].items() if digest == version.digest]
        for role in roles:
            graph.add(node)
            graph.join(own, node.id, f"model:{role}")
    return found


def _version_id(version: ModelVersion) -> str:
    return f"model_version:{version.id}"


def _version_nodes(session: Session, versions: list[ModelVersion]) -> list[Node]:
    models = session.scalars(select(Model).where(Model.id.in_({version.model_id for version in versions})))
    by_id = {model.id: model for model in models}
    nodes = []
    for version in versions:
        model = by_id[version.model_id]
        name = f"{model.name}@{version.version}"
        gone = model.deleted_at is not None
        nodes.append(Node(_version_id(version), "model_version", name, version.digest, gone))
    return nodes


def _versions_by_digest(session: Session, project_id: UUID, digests: Iterable[str]) -> list[ModelVersion]:
    """One version for each digest; equal bundles may have been registered more than once, the oldest counts."""
    wanted = select(ModelVersion).where(ModelVersion.project_id == project_id, ModelVersion.digest.in_(list(digests)))
    found = session.scalars(wanted.order_by(ModelVersion.created_at.desc()))
    return list({version.digest: version for version in found}.values())


def _datasets_by_digest(session: Session, project_id: UUID, digests: Iterable[str]) -> dict[str, Node]:
    """Data-set versions by the digest of their folder, and by that of their pictures."""
    wanted = list(digests)
    pictures = DatasetVersion.manifest["digest"].astext
    rows = session.execute(
        select(DatasetVersion, Dataset)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(DatasetVersion.project_id == project_id, or_(DatasetVersion.digest.in_(wanted), pictures.in_(wanted)))
        .order_by(DatasetVersion.created_at.desc())
    )
    known: dict[str, Node] = {}
    for version, dataset in rows:
        name = f"{dataset.name}@{version.version}"
        node = Node(
            f"dataset_version:{version.id}", "dataset_version", name, version.digest, dataset.deleted_at is not None
        )
        known |= {digest: node for digest in (version.digest, (version.manifest or {}).get("digest")) if digest}
    return known


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
