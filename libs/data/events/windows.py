"""Stretches of a user's events that models read: inputs, and the positions whose next item they must foretell.

A window of at most `max_length` + 1 rows: every row but the last is an input, every row from `first_target` on is a
target, foretold from the rows before it in the window. Long histories are cut into windows that overlap by half, so
that each target of a later window sees at least half a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libs.data.events.store import EventStore, Items, Longs

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows into an event store.

    Attributes:
        starts: first row of each, [W].
        lengths: rows, the last target's included, [W].
        first_targets: place within the window of its first target, at least 1, [W].
        users: [W].
    """

    starts: Longs
    lengths: Longs
    first_targets: Longs
    users: Longs

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def num_targets(self) -> int:
        """Positions to foretell, over all windows."""
        return int((self.lengths - self.first_targets).sum())

    def take(self, chosen: Longs) -> "Windows":
        """Some of the windows, in that order."""
        return Windows(self.starts[chosen], self.lengths[chosen], self.first_targets[chosen], self.users[chosen])


@dataclass(frozen=True, slots=True)
class SequenceBatch:
    """Windows as arrays, right-padded with 0.

    Attributes:
        inputs: [B, n].
        targets: the item after each input, [B, n]; 0 where there is none to foretell.
        lengths: inputs of each row, [B].
        users: [B].
        starts: where in the event store each row's first input is, [B].
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: Longs
    users: Longs
    starts: Longs


def windows_of(events: EventStore, split: Split, max_length: int, *, single_targets: bool = False) -> Windows:
    """Windows that cover each target of a split once.

    Validation and testing see every event before the target, those of earlier splits too. A user's first event is
    nobody's target, for want of a history.

    Args:
        single_targets: a window for each target, its last row: every prefix of a history is an example.
    """
    first, last = np.asarray(events.offsets[:-1]), np.asarray(events.offsets[1:])
    begin, end = {
        "train": (first, np.asarray(events.ends[:, 0])),
        "val": (np.asarray(events.ends[:, 0]), np.asarray(events.ends[:, 1])),
        "test": (np.asarray(events.ends[:, 1]), last),
    }[split]
    begin = np.maximum(begin, first + 1)
    users = np.flatnonzero(end > begin)
    if single_targets:
        return _one_by_one(users.astype(np.int64), first[users], begin[users], end[users], max_length)
    return _cut(users.astype(np.int64), first[users], begin[users], end[users], max_length)


def _cut(users: Longs, first: Longs, begin: Longs, end: Longs, max_length: int) -> Windows:
    """Windows over targets [begin, end) of histories that start at `first`.

    The first window of a user holds as many targets as fit behind a full history; each later one, half a window more.
    """
    half = max(1, max_length // 2)
    fits = np.maximum(np.minimum(end, first + max_length + 1), np.minimum(end, begin + half)) - begin
    more = -(-(end - begin - fits) // half)
    count = 1 + np.maximum(more, 0)
    owner = np.repeat(np.arange(len(users)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    target_begin = begin[owner] + np.where(place == 0, 0, fits[owner] + (place - 1) * half)
    target_end = np.where(place == 0, begin[owner] + fits[owner], np.minimum(target_begin + half, end[owner]))
    start = np.maximum(first[owner], target_end - max_length - 1)
    return Windows(start, target_end - start, target_begin - start, users[owner])


def _one_by_one(users: Longs, first: Longs, begin: Longs, end: Longs, max_length: int) -> Windows:
    """A window for each target of [begin, end), with the newest `max_length` rows before it."""
    count = end - begin
    owner = np.repeat(np.arange(len(users)), count)
    target = np.arange(len(owner)) + np.repeat(begin - (np.cumsum(count) - count), count)
    start = np.maximum(first[owner], target - max_length)
    return Windows(start, target + 1 - start, target - start, users[owner])


def read(events: EventStore, windows: Windows) -> SequenceBatch:
    """The items of some windows."""
    longest = int(windows.lengths.max())
    places = np.arange(longest)
    inside = places < windows.lengths[:, None]
    rows = np.minimum(windows.starts[:, None] + places, len(events.items) - 1)
    items: Items = np.where(inside, events.items[rows], 0)
    is_target = inside & (places >= windows.first_targets[:, None])
    targets = np.where(is_target, items, 0)[:, 1:]
    inputs = np.where(places[:-1] < windows.lengths[:, None] - 1, items[:, :-1], 0)
    return SequenceBatch(
        inputs=inputs.astype(np.int64),
        targets=targets.astype(np.int64),
        lengths=windows.lengths - 1,
        users=windows.users,
        starts=windows.starts,
    )


def batches(
    windows: Windows, batch_size: int, *, seed: int | None = None, bucket: int | None = None
) -> Iterator[Windows]:
    """Batches of windows of about the same length, so that little of a batch is padding.

    Args:
        seed: shuffles windows, then batches; None keeps the order but for sorting by length within a bucket.
        bucket: windows that are sorted by length together; None: those of 50 batches.
    """
    bucket = 50 * batch_size if bucket is None else bucket
    random = None if seed is None else np.random.default_rng(seed)
    order = np.arange(len(windows)) if random is None else random.permutation(len(windows))
    found: list[Longs] = []
    for begin in range(0, len(order), bucket):
        group = order[begin : begin + bucket]
        group = group[np.argsort(windows.lengths[group], kind="stable")]
        found += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    if random is not None:
        random.shuffle(found)
    for chosen in found:
        yield windows.take(chosen)
