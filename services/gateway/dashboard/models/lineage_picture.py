"""A lineage as a picture: things stand in columns, each to the right of everything it was made from."""

from collections import defaultdict
from dataclasses import dataclass

from services.gateway.models.schemas import Lineage, LineageNode

WIDTH, HEIGHT = 190, 46
_GAP_X, _GAP_Y, _MARGIN = 110, 18, 6
MOST_NODES = 80
_WORDS = {"model_version": "model", "dataset_version": "data set", "job": "job", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class Box:
    """One thing; `x` and `y` are its upper left corner in px."""

    x: int
    y: int
    title: str
    words: str
    kind: str
    address: str
    here: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a thing to what it went into; `path` is an SVG path."""

    path: str
    words: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and arrows, and the size in px that holds them."""

    width: int
    height: int
    boxes: list[Box]
    arrows: list[Arrow]


def picture_of(lineage: Lineage) -> Picture:
    """Lay the graph out. A graph has no cycles: nothing is made from what was made of it."""
    nodes = {node.id: node for node in lineage.nodes[:MOST_NODES]}
    edges = [edge for edge in lineage.edges if edge.source in nodes and edge.target in nodes]
    columns = _columns(nodes, [(edge.source, edge.target) for edge in edges])
    places = {
        node_id: (_MARGIN + column * (WIDTH + _GAP_X), _MARGIN + row * (HEIGHT + _GAP_Y))
        for column, ids in columns.items()
        for row, node_id in enumerate(ids)
    }
    boxes = [_box(nodes[node_id], x, y, here=node_id == lineage.id) for node_id, (x, y) in places.items()]
    arrows = [_arrow(places[edge.source], places[edge.target], edge.role) for edge in edges]
    width = max((x for x, _ in places.values()), default=0) + WIDTH + _MARGIN
    height = max((y for _, y in places.values()), default=0) + HEIGHT + _MARGIN
    return Picture(width, height, boxes, arrows)


def _columns(nodes: dict[str, LineageNode], edges: list[tuple[str, str]]) -> dict[int, list[str]]:
    """Each thing's column: one more than the furthest of what went into it."""
    column = dict.fromkeys(nodes, 0)
    for _ in nodes:
        moved = False
        for source, target in edges:
            if column[target] <= column[source]:
                column[target], moved = column[source] + 1, True
        if not moved:
            break
    found: dict[int, list[str]] = defaultdict(list)
    for node_id in nodes:
        found[column[node_id]].append(node_id)
    return found


def _box(node: LineageNode, x: int, y: int, *, here: bool) -> Box:
    name, _, version = node.name.partition("@")
    addresses = {
        "model_version": f"/models/{name}/versions/{version}",
        "dataset_version": f"/datasets/{name}?version={version}",
        "job": f"/jobs/{node.id.partition(':')[2]}",
    }
    address = "" if node.deleted else addresses.get(node.kind, "")
    words = _WORDS[node.kind] + (", deleted" if node.deleted else "")
    return Box(x, y, _short(node.name or (node.digest or "")[:12]), words, node.kind, address, here)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 8]}…{name[-7:]}"


def _arrow(source: tuple[int, int], target: tuple[int, int], role: str) -> Arrow:
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT // 2
    x2, y2 = target[0], target[1] + HEIGHT // 2
    half = (x1 + x2) // 2
    path = f"M{x1} {y1} C{half} {y1} {half} {y2} {x2 - 5} {y2}"
    return Arrow(path, role, half, (y1 + y2) // 2 - 5)
