"""From spooled events to the arrays of a data set: sorted, filtered, split, numbered."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.data.archives.files import disk_full
from libs.data.config import EventOptions, ValidationConfig
from libs.data.errors import DataError
from libs.data.events.chunks import ROWS_AT_A_TIME
from libs.data.events.compact import Layout, copy_alive, layout_of
from libs.data.events.delimited import Tick
from libs.data.events.filters import Flags, duplicates, keep_core, keep_newest, repeats
from libs.data.events.sorting import SortedEvents, scratch_array, sort_events
from libs.data.events.splits import by_time, by_user, leave_last_out, value_at
from libs.data.events.spool import Spool
from libs.data.events.store import EventStore, Items, Longs, open_events
from libs.data.events.times import micros, moment
from libs.data.events.vocabulary import Cold, Vocabulary, drop_unknown, training_counts, vocabulary_of
from libs.data.manifest import EventSplit

_BYTES_AN_EVENT = 40  # sorted 14, filtered 12, in the data set 12


@dataclass(frozen=True, slots=True)
class Built:
    """Events as they are stored.

    Attributes:
        store: memory-mapped from the data set's folder.
        user_ids: by number, rising.
        vocabulary: of the items.
        split: the protocol with its parameters.
        filtered: how many events each filter took, and what there was before.
        cold: what items without training events cost.
    """

    store: EventStore
    user_ids: pl.Series
    vocabulary: Vocabulary
    split: EventSplit
    filtered: dict[str, int]
    cold: Cold


def build_events(
    spool: Spool, config: ValidationConfig, scratch: Path, folder: Path, tick: Tick = lambda fraction: None
) -> Built:
    """Make the arrays of a data set.

    Args:
        spool: closed.
        config: filters and split.
        scratch: folder for arrays on the way, 26 bytes an event.
        folder: of the data set; gets the arrays of `libs.data.events.store`.
        tick: told the fraction done between the steps; may raise to stop.

    Raises:
        DataError: the filters leave nothing, or the split leaves nothing to train on.
        DiskFullError: there is no room.
    """
    _check_room(scratch, spool.events)
    events = sort_events(spool, scratch)
    tick(0.4)
    alive, filtered = _filter(events, len(spool.items), config.events)
    if not alive.any():
        raise DataError(f"The filters leave none of {len(alive)} events; lower min_user_events and min_item_events.")
    tick(0.6)
    everybody = np.zeros((len(events.offsets) - 1, 2), np.int64) + events.offsets[:-1, None]
    kept = layout_of(events.offsets, everybody, alive)
    items, times = _copied(events, alive, int(kept.offsets[-1]), scratch)
    split = _split_of(config, kept.offsets, times)
    ends = _ends(split, kept.offsets, times)
    tick(0.8)
    counts = training_counts(items, kept.offsets, ends, len(spool.items))
    if not counts.any():
        raise DataError("The split leaves no events to train on; choose other fractions or moments.")
    known = counts > 0 if config.events.cold_items == "drop" else _met(items, len(spool.items))
    vocabulary = vocabulary_of(known, counts, spool.items.texts())
    warm, cold = drop_unknown(items, kept.offsets, ends, vocabulary.numbers)
    last = layout_of(kept.offsets, ends, warm)
    _write(folder, last, items, times, warm, vocabulary.numbers)
    user_ids = spool.users.texts().sort()[kept.users[last.users]]
    return Built(open_events(folder, len(vocabulary.ids)), user_ids, vocabulary, split, filtered, cold)


def _check_room(scratch: Path, events: int) -> None:
    """Ask before arrays are mapped: writing to a mapping that finds no room ends the process."""
    scratch.mkdir(parents=True, exist_ok=True)
    needed = _BYTES_AN_EVENT * events
    if shutil.disk_usage(scratch).free < needed:
        raise disk_full(scratch, f"and sorting {events:,} events takes {needed:,} bytes")


def _filter(events: SortedEvents, num_items: int, options: EventOptions) -> tuple[Flags, dict[str, int]]:
    alive = np.ones(len(events.items), np.bool_)
    taken = {"read": len(alive), "out_of_time_order": events.unordered}
    same = duplicates(events)
    taken["duplicates"] = int(same.sum())
    if options.drop_duplicates:
        alive &= ~same
    again = repeats(events, alive)
    taken["immediate_repeats"] = int(again.sum())
    if options.drop_repeats:
        alive &= ~again
    before = int(alive.sum())
    if options.min_user_events > 1 or options.min_item_events > 1:
        minima = (options.min_user_events, options.min_item_events)
        taken["core_passes"] = keep_core(events, alive, num_items, *minima, options.core)
    taken["dropped_by_minima"] = before - int(alive.sum())
    taken["dropped_as_old"] = 0
    if options.max_user_events is not None:
        taken["dropped_as_old"] = keep_newest(events, alive, options.max_user_events)
    return alive, taken


def _copied(events: SortedEvents, alive: Flags, rows: int, scratch: Path) -> tuple[NDArray[np.int32], Longs]:
    items = scratch_array(scratch / "items.kept", np.int32, rows)
    times = scratch_array(scratch / "times.kept", np.int64, rows)
    copy_alive(events.items, alive, items)
    copy_alive(events.times, alive, times)
    return items, times


def _split_of(config: ValidationConfig, offsets: Longs, times: Longs) -> EventSplit:
    """The protocol with the parameters that belong to it."""
    options = config.events
    if options.split == "leave-last-out":
        return EventSplit(protocol="leave-last-out")
    fractions = {"val_fraction": config.val_fraction, "test_fraction": config.test_fraction}
    if options.split == "by-user":
        return EventSplit(protocol="by-user", seed=config.split_seed, **fractions)
    if options.validate_from is not None:
        moments = {"validate_from": options.validate_from, "test_from": options.test_from}
        return EventSplit.model_validate({"protocol": "by-time", **moments})
    shares = (1 - config.val_fraction - config.test_fraction, 1 - config.test_fraction)
    validate_from, test_from = (moment(us) for us in _moments(times, shares))
    return EventSplit(protocol="by-time", validate_from=validate_from, test_from=test_from, **fractions)


def _moments(times: Longs, shares: tuple[float, float]) -> list[int]:
    """Times before which these shares of the events lie."""
    places = [int(share * len(times)) for share in shares]
    return [value_at(times, place) if place < len(times) else int(times.max()) + 1 for place in places]


def _ends(split: EventSplit, offsets: Longs, times: Longs) -> Longs:
    if split.protocol == "leave-last-out":
        return leave_last_out(offsets)
    if split.protocol == "by-user":
        try:
            return by_user(offsets, (split.val_fraction or 0.0, split.test_fraction or 0.0), split.seed or 0)
        except ValueError as error:
            raise DataError(str(error)) from None
    if split.validate_from is None or split.test_from is None:
        raise DataError("A split by time needs both moments.")
    return by_time(offsets, times, micros(split.validate_from), micros(split.test_from))


def _met(items: NDArray[np.int32], num_items: int) -> Flags:
    met = np.zeros(num_items, np.bool_)
    for begin in range(0, len(items), ROWS_AT_A_TIME):
        met[items[begin : begin + ROWS_AT_A_TIME]] = True
    return met


def _write(folder: Path, layout: Layout, items: Items, times: Longs, warm: Flags, numbers: Items) -> None:
    """The arrays of `libs.data.events.store`, without holding them."""
    rows = int(layout.offsets[-1])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "offsets.npy", layout.offsets, allow_pickle=False)
    np.save(folder / "ends.npy", layout.ends, allow_pickle=False)
    written: dict[str, Any] = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows,))
        for name, dtype in (("items", np.int32), ("times", np.int64))
    }
    copy_alive(times, warm, written["times"])
    copy_alive(items, warm, written["items"])
    for begin in range(0, rows, ROWS_AT_A_TIME):
        chunk = slice(begin, begin + ROWS_AT_A_TIME)
        written["items"][chunk] = numbers[written["items"][chunk]]
    for array in written.values():
        array.flush()
