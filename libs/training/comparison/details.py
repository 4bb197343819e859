"""The details of a comparison, read: what a terminal and a page show of it. Needs the standard library alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison as a table: a row a figure, a column for each arm and for what was measured once.

    Attributes:
        columns: their names, the method first.
        rows: a figure's name, then what each column has of it; an arm mean and spread over the seeds, others one value
            or none.
        verdicts: a plain answer for each baseline.
        notes: what to know of registered models among the columns.
    """

    seeds: int
    columns: list[str]
    rows: list[tuple[str, list[Sequence[float]]]]
    verdicts: list[str]
    notes: list[str]

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> "Compared":
        """From what `Arms.details` wrote. Details of earlier versions have no orders and nothing beside the arms."""
        arms, once = details["figures"], details.get("beside", {})
        order, beside = details.get("arms", list(arms)), details.get("beside_names", list(once))
        names = details.get("names", list(dict.fromkeys(name for figures in arms.values() for name in figures)))
        rows = [
            (
                name,
                [
                    *(arms[arm][name] for arm in order),
                    *([once[who][name]] if name in once[who] else [] for who in beside),
                ],
            )
            for name in names
        ]
        registered = details.get("registered", {})
        notes = [registered[who]["note"] for who in beside if who in registered]
        return cls(len(details["seeds"]), [*order, *beside], rows, details["verdicts"], notes)
