"""The page of a report: sections of charts, tables and pictures, in one HTML file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure at the top of the page."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """An inline SVG of `libs.training.report.charts`."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; `numeric` columns stand to the right. One that is not `wide` stands beside others."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Matrix:
    """A square table of counts, each cell shaded by its share of the row."""

    labels: Sequence[str]
    cells: Sequence[Sequence[tuple[int, float]]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a `data:` URI, with what is said below it."""

    source: str
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures in a grid; `columns` 0: as many as fit."""

    pictures: Sequence[Thumbnail]
    caption: str = ""
    columns: int = 0


Block = Chart | Table | Matrix | Gallery


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence or two, and blocks."""

    title: str
    text: str = ""
    blocks: Sequence[Block] = field(default_factory=list)


def render_page(title: str, subtitle: str, tiles: Sequence[Tile], sections: Sequence[Section]) -> str:
    """The whole HTML page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["chart"] = lambda block: isinstance(block, Chart)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["matrix"] = lambda block: isinstance(block, Matrix)
    template = environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(title=title, subtitle=subtitle, tiles=tiles, sections=sections)
