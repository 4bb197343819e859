"""Every figure a run reported, kept for its report and carried through interruptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a series."""

    step: int
    value: float


class History:
    """Series of figures by name."""

    def __init__(self) -> None:
        self._series: dict[str, list[Point]] = {}

    def record(self, figures: Mapping[str, float], step: int) -> None:
        """Keep figures of one optimiser step."""
        for name, value in figures.items():
            self._series.setdefault(name, []).append(Point(step, value))

    @property
    def names(self) -> list[str]:
        """The series, in the order they first appeared."""
        return list(self._series)

    def series(self, name: str) -> Sequence[Point]:
        """The points of a series; none for an unknown name."""
        return self._series.get(name, ())

    def matching(self, prefix: str) -> dict[str, Sequence[Point]]:
        """The series whose name starts with `prefix`, by the rest of their name."""
        return {name.removeprefix(prefix): points for name, points in self._series.items() if name.startswith(prefix)}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            name: {"step": [point.step for point in points], "value": [point.value for point in points]}
            for name, points in self._series.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what a checkpoint holds."""
        self._series = {
            name: [Point(s, v) for s, v in zip(saved["step"], saved["value"], strict=True)]
            for name, saved in state.items()
        }
