"""What a model tells about its reading of a history, as bars: one for each event, or for each part of a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BAR, GAP, HEIGHT, MIDDLE_MARGIN = 26, 6, 96, 16
_MOST_BARS = 60
_WORDS = {
    "drift": (
        "Interest drift",
        "The gate at each event: low where an item departs from the interest so far and the past is forgotten.",
    ),
    "temporary_attention": (
        "Attention of the temporary context",
        "The share of each event, as the interest of the moment weighs it.",
    ),
    "local_attention": (
        "Attention of the local context",
        "The share of each event, as the slowly changing interest weighs it.",
    ),
    "local_context": (
        "Local context",
        "Which of the contexts that everybody shares the newest event brought into the slowly changing interest.",
    ),
    "theta": ("Global context", "How this history is mixed of the contexts that everybody shares."),
    "attention": ("Attention", "The share of each event in what comes next."),
    "spread": ("Spread of attention", "How much the attention varies over draws of its noise."),
    "skew_lift": ("Lift by skewness", "What the skewness adds to the attention of each event, or takes from it."),
    "mixture": ("Mixture of relations", "The user's weights of the relations."),
}


@dataclass(frozen=True, slots=True)
class OneBar:
    """A bar of the picture, in px; `words` say its value."""

    x: int
    y: float
    height: float
    label: str
    words: str
    negative: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """One tensor as a picture.

    Attributes:
        base: y of the line that bars stand on or hang from.
        highest: the largest value, by size, which the scale is made of.
    """

    name: str
    title: str
    help: str
    width: int
    height: int
    base: float
    bars: list[OneBar]
    highest: str

    @property
    def words(self) -> str:
        """The picture in words."""
        return ", ".join(f"{bar.label}: {bar.words}" for bar in self.bars)


def bars_of(explanation: dict[str, Any]) -> list[Bars]:
    """A picture of each tensor that is a row of numbers; those by event first."""
    history = [str(item) for item in explanation["history"]]
    rows = {name: row for name, row in explanation["tensors"].items() if _is_row(row)}
    by_event = {name: row for name, row in rows.items() if len(row) == len(history)}
    others = {name: row for name, row in rows.items() if name not in by_event}
    pictures = [_bars(name, row, history) for name, row in by_event.items()]
    return pictures + [_bars(name, row, [str(n + 1) for n in range(len(row))]) for name, row in others.items()]


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, int | float) for one in value)


def _bars(name: str, row: Sequence[float], labels: Sequence[str]) -> Bars:
    row, labels = row[-_MOST_BARS:], labels[-_MOST_BARS:]
    highest = max(abs(value) for value in row) or 1.0
    has_negative = min(row) < 0
    room = HEIGHT / 2 if has_negative else HEIGHT
    base = float(room)
    bars = []
    for place, (value, label) in enumerate(zip(row, labels, strict=True)):
        height = round(abs(value) / highest * room, 1)
        y = base if value < 0 else base - height
        bars.append(OneBar(place * (BAR + GAP), round(y, 1), height, label, f"{value:.3f}", value < 0))
    title, words = _WORDS.get(name, (name.replace("_", " "), ""))
    width = len(bars) * (BAR + GAP)
    return Bars(name, title, words, width, HEIGHT + MIDDLE_MARGIN, base, bars, f"{highest:.3f}")
