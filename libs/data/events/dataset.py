"""A data set of events on disk: written once, then opened by whoever trains, measures or serves."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from libs.data.events.build import Built
from libs.data.events.features import ItemFeatures
from libs.data.events.ids import IdMap
from libs.data.events.store import EventStore, Longs, open_events
from libs.data.events.times import moment
from libs.data.manifest import NEW_ITEMS_FILE, EventCounts, EventsManifest, Split, read_events_manifest

_ARRAYS = ("offsets", "items", "times", "ends")
_ROWS_AT_A_TIME = 1 << 18
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class EventData:
    """A validated data set of events, opened.

    Attributes:
        manifest: what it is.
        events: memory-mapped.
        users: their ids, from 0.
        items: their ids, from 1, and features.
    """

    manifest: EventsManifest
    events: EventStore
    users: IdMap
    items: IdMap

    @property
    def new_items(self) -> Path | None:
        """The file that describes items without a number, if there is one."""
        file = self.items.path.with_name(NEW_ITEMS_FILE)
        return file if file.is_file() else None


def open_event_data(folder: Path) -> EventData:
    """Open a validated data set of events.

    Raises:
        DataError: the folder holds none, one of another kind, or arrays that do not fit together.
    """
    manifest = read_events_manifest(folder)
    events = open_events(folder, manifest.items)
    return EventData(manifest, events, IdMap(folder / "users.parquet", 0), IdMap(folder / "items.parquet", 1))


def write_event_data(
    folder: Path, built: Built, features: ItemFeatures | None, types: dict[str, int]
) -> EventsManifest:
    """Write ids, features and manifest beside the arrays.

    Args:
        folder: of the data set, with the arrays.
        built: these arrays, and the ids of their users and items.
        features: of items, or None.
        types: events by type, before the filters.
    """
    users = pl.DataFrame({"id": built.user_ids, "training_count": built.store.ends[:, 0] - built.store.offsets[:-1]})
    items = pl.DataFrame({"id": built.vocabulary.ids, "training_count": built.vocabulary.training_counts})
    if features is not None:
        items = items.join(features.frame, on="id", how="left", maintain_order="left")
    users = users.with_row_index("index")
    items = items.with_row_index("index", offset=1)
    tables = {"users.parquet": users, "items.parquet": items}
    if features is not None and len(features.new):
        tables[NEW_ITEMS_FILE] = features.new
    for name, frame in tables.items():
        frame.write_parquet(folder / name, row_group_size=_ROWS_AT_A_TIME)
    times = built.store.times
    first, last = _extremes(times)
    manifest = EventsManifest(
        users=built.store.num_users,
        items=built.store.num_items,
        events=len(times),
        types=types,
        first_time=moment(first),
        last_time=moment(last),
        split=built.split,
        splits=count_splits(built.store),
        item_features=[] if features is None else features.features,
        digest=_digest(folder, tables.values()),
        size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def count_splits(events: EventStore) -> dict[Split, EventCounts]:
    """Events of every split and users who have some there."""
    bounds = np.concatenate([events.offsets[:-1, None], events.ends, events.offsets[1:, None]], axis=1)
    lengths = np.diff(bounds, axis=1)
    names: tuple[Split, ...] = ("train", "val", "test")
    return {
        name: EventCounts(events=int(lengths[:, column].sum()), users=int((lengths[:, column] > 0).sum()))
        for column, name in enumerate(names)
    }


def _extremes(times: Longs) -> tuple[int, int]:
    parts = [times[begin : begin + _ROWS_AT_A_TIME] for begin in range(0, len(times), _ROWS_AT_A_TIME)]
    return min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)


def _digest(folder: Path, frames: Iterable[pl.DataFrame]) -> str:
    """SHA-256 over the arrays, the ids and the features: of what they say, not of how Parquet packs it."""
    digest = hashlib.sha256()
    for name in _ARRAYS:
        with (folder / f"{name}.npy").open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    for frame in frames:
        for part in frame.iter_slices(_ROWS_AT_A_TIME):
            digest.update(part.write_csv().encode())
    return digest.hexdigest()
