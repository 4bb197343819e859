"""A handful of recommendations as a person would see them: a history, the best ten, and what came next in truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from libs.data.events.dataset import EventData
from libs.models.sequences.evaluation import Ranked
from libs.training.report.page import Section, Table

EXAMPLES = 8
SHOWN_HISTORY = 8


@dataclass(frozen=True, slots=True)
class Example:
    """One case by ids.

    Attributes:
        history: the newest items, oldest first.
        earlier: how many more came before those.
        recommended: best first.
        held_out: what came next.
        rank: of the held-out item.
    """

    history: Sequence[str]
    earlier: int
    recommended: Sequence[str]
    held_out: str
    rank: float

    def as_json(self) -> dict[str, Any]:
        """For `report.json`."""
        return {
            "history": list(self.history),
            "earlier": self.earlier,
            "recommended": list(self.recommended),
            "held_out": self.held_out,
            "rank": self.rank,
        }


def examples_of(ranked: Ranked, data: EventData) -> list[Example]:
    """Cases evenly spread from the best rank to the worst."""
    places = np.linspace(0, len(ranked.ranks) - 1, min(EXAMPLES, len(ranked.ranks))).round().astype(np.int64)
    return [_example(ranked, data, int(case)) for case in torch.argsort(ranked.ranks, stable=True)[places]]


def _example(ranked: Ranked, data: EventData, case: int) -> Example:
    row, before = int(ranked.rows[case]), int(ranked.history_lengths[case])
    shown = min(before, SHOWN_HISTORY)
    recommended = [int(item) for item in ranked.recommended[case] if item]
    ids = data.items.ids([*data.events.items[row - shown : row + 1].tolist(), *recommended])
    return Example(ids[:shown], before - shown, ids[shown + 1 :], ids[shown], float(ranked.ranks[case]))


def examples_section(examples: Sequence[Example], split: str) -> Section:
    """One row an example."""
    rows = [[_history(example), _listed(example), example.held_out, f"{example.rank:g}"] for example in examples]
    table = Table(["history, newest last", "the best ten", "what came next", "its rank"], rows, frozenset({3}))
    text = f"Cases of the {split} split, evenly spread from the best rank to the worst. Users are not named."
    return Section("Examples", text, [table])


def _history(example: Example) -> str:
    earlier = [f"… {example.earlier:,} more"] if example.earlier else []
    return " → ".join([*earlier, *example.history])


def _listed(example: Example) -> str:
    marked = [Markup("<mark>{}</mark>").format(i) if i == example.held_out else i for i in example.recommended]
    return Markup(" · ").join(marked)
