"""Makes an upload of the events that users sent: the child that validates it has no database.

<folder>/recorded.csv    user, item and timestamp of what was recorded by POST /v1/events
<folder>/base.csv        those of the data set it goes on from
<folder>/items.parquet   item features of that data set, and of the new items that it describes

A session without a user is a user of its own, `session:` and its id. In memory are ids and a block of rows.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import Engine

from libs.data.errors import DataError
from libs.data.events.chunks import user_chunks
from libs.data.events.dataset import EventData, open_event_data
from libs.database.tables import DatasetVersion
from libs.registry.artifacts import Tick, go_on
from services.worker.repository import copy_events

MOST_EVENTS = 500_000_000
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"


def write_recorded(
    engine: Engine, version: DatasetVersion, base: Path | None, folder: Path, tick: Tick = go_on
) -> Path:
    """The folder validation reads.

    Args:
        base: a validated data set of events.
        tick: called many times meanwhile; may raise to stop.

    Raises:
        DataError: nothing was recorded in that time, or too much for one data set.
    """
    wanted = version.source["recorded"]
    days = wanted.get("since_days")
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    folder.mkdir()
    file = folder / "recorded.csv"
    count = copy_events(engine, version.project_id, since, wanted.get("types"), MOST_EVENTS + 1, file, tick)
    if count > MOST_EVENTS:
        raise DataError(f"More than {MOST_EVENTS:,} events were recorded; take fewer by since_days or types.")
    if count == 0:
        asked = "" if days is None else f" in the last {days} days"
        raise DataError(f"No event of these types was recorded{asked}; send events to POST /v1/events first.")
    if base is not None:
        _write_base(open_event_data(base), folder)
    return folder


def _write_base(data: EventData, folder: Path) -> None:
    users, items = pl.Series(data.users.all_ids()), pl.Series(data.items.all_ids())
    with (folder / "base.csv").open("wb") as file:
        file.write(b"user,item,timestamp\n")
        for chunk in user_chunks(data.events.offsets):
            moments = pl.Series(np.asarray(data.events.times[chunk.rows])).cast(pl.Datetime("us"))
            rows = {
                "user": users[chunk.owners + chunk.users.start],
                "item": items[np.asarray(data.events.items[chunk.rows], np.int64) - 1],
                "timestamp": moments.dt.strftime(_TIME),
            }
            pl.DataFrame(rows).write_csv(file, include_header=False)
    names = [feature.name for feature in data.manifest.item_features]
    if names:
        described = [data.items.features(["id", *names])]
        if data.new_items is not None:
            described.append(pl.read_parquet(data.new_items))
        pl.concat(described).rename({"id": "item"}).write_parquet(folder / "items.parquet")
