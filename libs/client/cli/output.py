"""What every command shares: the client, tables, JSON, times."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Octavo

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connect() -> "Octavo":
    """The client for the gateway that the environment or the local stack names."""
    from libs.client.client import Octavo

    return Octavo()


def console() -> "Console":
    """Standard output; long lines are not broken when it is no terminal."""
    from rich.console import Console

    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=200)


def print_json(value: Any) -> None:
    """Print a value as JSON, for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "") -> None:
    """Print rows; `empty` when there are none."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    if table.row_count or not empty:
        console().print(table)
    else:
        console().print(empty, markup=False)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and what they are, one a line; those that are empty are left out."""
    shown = [(name, value) for name, value in facts if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        console().print(f"  {name:<{width}}  {value}", markup=False, soft_wrap=True)


_SPLITS = ("test", "val", "train")
_FIRST = ("accuracy", "ndcg@10", "hr@10", "mrr@20")
_BASELINE = "baseline/"


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics as people look for them: of the test split, of the validation split, of training, the rest.

    Of each, the telling ones before the others, and those of everything before those of a part.
    """
    return sorted(names, key=_place)


def _place(name: str) -> tuple[int, int, int, str]:
    split, _, metric = name.partition("/")
    place = _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)
    return place, metric.count("/"), _FIRST.index(metric) if metric in _FIRST else len(_FIRST), name


def print_metrics(metrics: Mapping[str, object]) -> None:
    """Print a table of metrics, those of baselines beside the model's own; nothing when there are none."""
    if not metrics:
        return
    baselines = sorted({name.split("/")[1] for name in metrics if name.startswith(_BASELINE)})
    own = in_order(name for name in metrics if not name.startswith(_BASELINE))
    rows = (
        (name, *(figure(metrics.get(one, "")) for one in (name, *(f"{_BASELINE}{who}/{name}" for who in baselines))))
        for name in own
    )
    print_table(("metric", "value", *baselines), rows)


def print_settings(config: Mapping[str, object]) -> None:
    """Print a table of hyper-parameters by name; nothing when there are none."""
    if config:
        print_table(("setting", "value"), ((name, setting(config[name])) for name in sorted(config)))


def setting(value: object) -> str:
    """A hyper-parameter as it is written after --set."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


SPLITS = ("train", "val", "test")


def split_order(names: Iterable[str]) -> list[str]:
    """Splits in the order they are used: train, val, test, then what else there is."""
    return sorted(names, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name))


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def ago(moment: str | None) -> str:
    """How long ago a time of the API was."""
    if not moment:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for limit, length, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} d ago"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds from one time of the API to another; to now when the second is missing."""
    if not start:
        return None
    finish = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (finish - datetime.fromisoformat(start)).total_seconds()


def duration(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def figure(value: object) -> str:
    """A metric for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
