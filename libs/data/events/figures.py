"""Figures of events for the validation report, and what would make a measurement on them worthless."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.events.chunks import user_chunks
from libs.data.events.store import EventStore, Longs
from libs.data.validation.problems import Problems

_QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}


def shape_figures(events: EventStore, training_counts: Longs) -> dict[str, Any]:
    """Events a user, training events an item, how unequal items are, and how few of all pairs are seen."""
    cells = events.num_users * events.num_items
    return {
        "events_per_user": _quantiles(np.diff(events.offsets)),
        "training_events_per_item": _quantiles(training_counts),
        "popularity_gini": round(gini(training_counts), 6),
        "events_per_cell": len(events.items) / cells if cells else 0.0,
    }


def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient: 0 when every item is met equally often, near 1 when one has nearly all events."""
    total = int(counts.sum())
    if not total:
        return 0.0
    ordered = np.sort(counts)
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * (ranks * ordered).sum() / (len(ordered) * total) - (len(ordered) + 1) / len(ordered))


def check_leakage(events: EventStore, problems: Problems) -> dict[str, Any]:
    """Look for what lets a model see the answer: read from the arrays as written, not from how they were made.

    Within a user no training event may be later than one of validation, and none of those later than one of testing;
    a user's times must rise. Training events of others after the first test event are counted and not wrong under
    leave-last-out and by-user, where they tell how far the measurement is from foretelling the future.
    """
    first_test, wrong, tied, repeated, targets = np.iinfo(np.int64).max, 0, 0, 0, 0
    for chunk in user_chunks(events.offsets):
        rows = np.arange(chunk.rows.start, chunk.rows.stop)
        times, items = np.asarray(events.times[chunk.rows]), np.asarray(events.items[chunk.rows])
        ends = np.asarray(events.ends[chunk.users])
        val, test = (column[chunk.owners] for column in ends.T)
        split = (rows >= val).astype(np.int8) + (rows >= test)
        same_user = np.diff(chunk.owners) == 0
        wrong += int((same_user & ((np.diff(times) < 0) | (np.diff(split) < 0))).sum())
        tied += int((same_user & (np.diff(times) == 0) & (np.diff(split) > 0)).sum())
        first_test = min(first_test, int(times[split == 2].min(initial=first_test)))
        pairs = chunk.owners * (events.num_items + 1) + items
        repeated += int(np.isin(pairs[split == 2], pairs[split < 2]).sum())
        targets += int((split == 2).sum())
    if wrong:
        problems.error("leakage", f"{wrong} events lie before one of an earlier split of the same user.")
    if tied:
        problems.warn(
            "tied-across-splits",
            f"{tied} times a user has events of the same moment on both sides of a split; which is first is their "
            "order in the file.",
        )
    return {
        "events_out_of_order": wrong,
        "ties_across_splits": tied,
        "training_events_after_first_test": _training_after(events, first_test),
        "test_targets": targets,
        "test_targets_seen_before": repeated,
    }


def _training_after(events: EventStore, moment: int) -> int:
    found = 0
    for chunk in user_chunks(events.offsets):
        rows = np.arange(chunk.rows.start, chunk.rows.stop)
        training = rows < np.asarray(events.ends[chunk.users])[:, 0][chunk.owners]
        found += int((training & (events.times[chunk.rows] > moment)).sum())
    return found


def _quantiles(counts: NDArray[np.int64]) -> dict[str, float]:
    if not len(counts):
        return {}
    return {name: float(np.quantile(counts, share)) for name, share in _QUANTILES.items()}
