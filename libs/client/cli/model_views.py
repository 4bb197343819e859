"""A model version, its lineage, and versions side by side, for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from libs.client.cli.output import (
    ago,
    console,
    figure,
    in_order,
    print_facts,
    print_metrics,
    print_settings,
    print_table,
    size,
)

if TYPE_CHECKING:
    from libs.client.records import ModelVersion

_SHOWN_LABELS = 20


def show_version(version: "ModelVersion") -> None:
    """What one looks for first: whether it may be served, and why; what it is; how good it is."""
    screen = console()
    screen.print(f"[bold]{version.reference}[/] is {version.status}")
    if version.status_reason:
        screen.print(version.status_reason, style="yellow", markup=False, soft_wrap=True)
    print_facts(_facts(version))
    print_metrics(version.metrics)


def _facts(version: "ModelVersion") -> Iterator[tuple[str, object]]:
    bundle = version.bundle or {}
    for name, gate in (version.gates or {}).items():
        yield f"gate {name}", f"{'passed' if gate['passed'] else 'failed'}  {gate.get('detail') or ''}".rstrip()
    for one in bundle.get("latency", []):
        yield "latency", _latency(one)
    if "parameters" in bundle:
        yield "network", f"{bundle['architecture']}, {bundle['parameters']:,} parameters"
    if "recipe" in bundle:
        recipe = bundle["recipe"]
        yield "input", f"{recipe['channels']} x {recipe['height']} x {recipe['width']}"
    if "items" in bundle:
        features = ", ".join(f"{one['name']} ({one['type']})" for one in bundle["item_features"])
        yield "items", f"{bundle['items']:,}{f', with {features}' if features else ''}"
        yield "history", f"the newest {bundle['max_length']} events{_session_of(bundle)}"
        yield "can explain", ", ".join(one["name"] for one in bundle["explanations"])
    labels = bundle.get("labels", [])
    more = f", … ({len(labels)} in all)" if len(labels) > _SHOWN_LABELS else ""
    yield "labels", ", ".join(map(str, labels[:_SHOWN_LABELS])) + more
    yield "size", size(version.size_bytes)
    yield "method", version.method
    yield "made", ago(version.created_at)
    yield "by job", version.job_id
    yield "digest", version.digest


def _latency(one: Mapping[str, Any]) -> str:
    threads = f"{one['threads']} thread{'s' if one['threads'] > 1 else ''}"
    return f"{one['p50_ms']:.3g} ms, p90 {one['p90_ms']:.3g} ms, {one['batch_size']} at a time, {threads}"


def _session_of(bundle: Mapping[str, Any]) -> str:
    return "; a live session costs one step an event" if bundle["state"] else ""


def show_lineage(found: Mapping[str, Any]) -> None:
    """What a version was made from, as a tree; what was made from it; its settings."""
    screen = console()
    nodes = {node["id"]: node for node in found["nodes"]}
    screen.print(_name(nodes[found["id"]]), style="bold", markup=False)
    for line in tree(found["id"], nodes, found["edges"], "target", "source"):
        screen.print(line, markup=False, soft_wrap=True)
    derived = list(tree(found["id"], nodes, found["edges"], "source", "target"))
    if derived:
        screen.print("made from it:")
    for line in derived:
        screen.print(line, markup=False, soft_wrap=True)
    if not found["complete"]:
        screen.print("There is more than is shown.", style="yellow")
    print_facts([("seed", found["seed"]), ("code version", found["code_version"])])
    print_settings(found["config"])


def tree(
    start: str, nodes: Mapping[str, Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], near: str, far: str
) -> Iterator[str]:
    """Lines of all that is reached from `start` along the edges from their `near` to their `far` end."""
    seen = {start}
    open_ = [(edge, 1) for edge in reversed(edges) if edge[near] == start]
    while open_:
        edge, depth = open_.pop()
        other = edge[far]
        yield f"{'  ' * depth}{edge['role']}  {_name(nodes[other])}"
        if other not in seen:
            seen.add(other)
            open_ += [(one, depth + 1) for one in reversed(edges) if one[near] == other]


def _name(node: Mapping[str, Any]) -> str:
    if node["kind"] == "unknown":
        return f"unknown, digest {str(node['digest'])[:12]}"
    kinds = {"job": "job ", "dataset_version": "data set "}
    identity = f" ({node['id'].partition(':')[2][:8]})" if node["kind"] == "job" else ""
    return f"{kinds.get(node['kind'], '')}{node['name']}{identity}{' (deleted)' if node['deleted'] else ''}"


def show_comparison(found: Mapping[str, Any]) -> None:
    """Versions side by side: metrics, then the settings and facts in which they differ from the first."""
    base, against = found["base"], found["against"]
    versions = [base, *(one["version"] for one in against)]
    rows: list[tuple[object, ...]] = [("status", *(one["status"] for one in versions))]
    for name in in_order({name for one in versions for name in one["metrics"]}):
        rows.append((name, *(figure(one["metrics"].get(name, "")) for one in versions)))
    for part, prefix in (("config", "--set "), ("facts", "")):
        changes = [one[part] for one in against]
        for name in sorted({name for one in changes for name in one}):
            left = next(one[name]["left"] for one in changes if name in one)
            rights = [one[name]["right"] if name in one else left for one in changes]
            rows.append((f"{prefix}{name}", *(_compared(name, value) for value in (left, *rights))))
    print_table(("", *(f"{one['model']}@{one['version']}" for one in versions)), rows)


def _compared(name: str, value: object) -> str:
    if name == "latency" and isinstance(value, list):
        return "\n".join(map(_latency, value))
    return figure(value)
