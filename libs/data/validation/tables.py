"""An upload of events: read, checked, stored."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from libs.data.archives import ArchiveLimits, SourceFile, Sources, archive_kind, scan_folder, unpack
from libs.data.config import ValidationConfig
from libs.data.errors import ArchiveError
from libs.data.events.build import Built, build_events
from libs.data.events.dataset import write_event_data
from libs.data.events.features import ItemFeatures, read_features
from libs.data.events.figures import check_leakage, shape_figures
from libs.data.events.reading import Batch, Table, is_parquet
from libs.data.events.spool import Spool
from libs.data.events.times import MICROS, moment
from libs.data.events.upload import Tables, find_tables, is_table_name
from libs.data.public import pull
from libs.data.validation.problems import Problems
from libs.data.validation.upload import Upload
from libs.data.validation.work import Work

_PREVIEW_ROWS = 10
_LISTED_PER_BATCH = 100
_CLOCK_SKEW_US = 86_400 * MICROS
_TIMES_BEGAN_US = 631_152_000 * MICROS  # 1990
_WITHOUT = {
    "val": "a training keeps its last weights and cannot stop early",
    "test": "nothing can be measured on it",
}
_WRONG = {
    "missing-user": "has no user",
    "missing-item": "has no item",
    "missing-time": "has no time",
    "not-utf8": "has an id that is not UTF-8",
    "long-id": "has an id of more than 512 bytes",
    "unreadable-time": "has a time that cannot be read, or not of the years 1900 to 2199",
    "future-time": "lies in the future",
}


def validate_tables(upload: Upload, config: ValidationConfig, work: Work, now_us: int | None = None) -> dict[str, Path]:
    """Make a data set of an upload of events, unless it has errors.

    Args:
        now_us: events more than a day later lie in the future; None: now. Microseconds since 1970.

    Returns:
        Files to keep: none but the report.

    Raises:
        DataError: nothing can be read at all, or nothing is left of it.
        DiskFullError: there is no room.
    """
    limits = ArchiveLimits(config.max_files, config.max_unpacked_bytes)
    work.watch.step(0.0, 0.1, "unpacking")
    sources = _sources(upload, work, limits)
    tables = find_tables(sources.files, config.events, limits, work.problems)
    work.report.update({"kind": "events", "ignored": dict(sources.ignored + tables.ignored)})
    if not work.problems.fatal:
        _make(tables, config, work, time.time_ns() // 1000 if now_us is None else now_us)
    return {}


def _make(tables: Tables, config: ValidationConfig, work: Work, now_us: int) -> None:
    """Read the tables, and write the data set unless they have errors."""
    with Spool(work.scratch / "spool", config.events.types) as spool:
        reading = _Reading(work, spool, now_us)
        work.report.update(reading.read(tables, config.events.max_bad_fraction))
    _check_types(spool, config, work.problems)
    if work.problems.fatal:
        return
    work.watch.step(0.6, 0.85, "sorting, filtering and splitting")
    built = build_events(spool, config, work.scratch / "sorted", work.dataset, work.watch.tick)
    work.report.update(_built_report(built, work.problems))
    work.watch.step(0.85, 0.95, "reading item features")
    features = _features(tables, built, work)
    work.watch.step(0.95, 1.0, "writing ids")
    manifest = write_event_data(work.dataset, built, features, spool.by_type)
    work.report.update(manifest.model_dump(mode="json"))


def _sources(upload: Upload, work: Work, limits: ArchiveLimits) -> Sources:
    """The files: of a folder, of an archive, or the one that was sent."""
    if upload.public:
        fetched = pull(upload.name, tick=work.watch.tick)
        upload = Upload(fetched, fetched.name)
    if upload.url is not None:
        return scan_folder(upload.path, limits.max_files)
    try:
        packed = not is_parquet(upload.path) and bool(archive_kind(upload.path))
    except ArchiveError:
        if upload.path.stat().st_size == 0:
            raise
        packed = False
    if packed:
        return unpack(upload.path, work.scratch / "content", limits, work.watch.tick)
    name = upload.name if is_table_name(upload.name) else f"{upload.name}.csv"
    return Sources([SourceFile(name, upload.path)])


class _Reading:
    """Rows of all tables on their way to the spool; what is wrong with them is counted and the first are named."""

    def __init__(self, work: Work, spool: Spool, now_us: int) -> None:
        self._work = work
        self._spool = spool
        self._latest_us = now_us + _CLOCK_SKEW_US
        self._rows = 0
        self._kept = 0
        self._wrong: Counter[str] = Counter()
        self._empty = 0
        self._early = 0
        self._preview: list[dict[str, Any]] = []

    def read(self, tables: Tables, max_bad_fraction: float) -> dict[str, Any]:
        """Read everything; the report about it."""
        count = len(tables.events)
        for number, table in enumerate(tables.events):
            self._work.watch.step(0.1 + 0.5 * number / count, 0.1 + 0.5 * (number + 1) / count, f"reading {table.name}")
            for batch in table.events(self._latest_us, self._work.watch.tick):
                self._take(batch, table)
        self._judge(max_bad_fraction)
        return {
            "files": [{"name": table.name, "columns": dict(table.roles)} for table in tables.events],
            "rows": self._rows,
            "bad_rows": dict(self._wrong),
            "empty_rows": self._empty,
            "rows_of_other_types": self._rows - sum(self._wrong.values()) - self._kept,
            "preview": self._preview,
        }

    def _take(self, batch: Batch, table: Table) -> None:
        wrong = batch.rows.filter(pl.col("wrong").is_not_null())
        good = batch.rows.filter(pl.col("wrong").is_null())
        self._rows += len(batch.rows)
        self._empty += batch.empty
        for code, count in wrong["wrong"].value_counts().iter_rows():
            self._note(table, code, count, wrong.filter(pl.col("wrong") == code)["row"])
        self._kept += self._spool.add(good)
        self._early += int((good["time"] < _TIMES_BEGAN_US).sum())
        for row in good.head(_PREVIEW_ROWS - len(self._preview)).select("user", "item", "time", "type").to_dicts():
            self._preview.append({**row, "time": moment(row["time"]).isoformat()})

    def _note(self, table: Table, code: str, count: int, rows: pl.Series) -> None:
        problems = self._work.problems
        self._wrong[code] += count
        for row in rows.head(_LISTED_PER_BATCH):
            place = table.place(row).capitalize()
            problems.warn(code, f"{place} of {table.name!r} {_WRONG[code]}.", file=table.name, row=row)
        problems.counts[code] += count - min(count, _LISTED_PER_BATCH)

    def _judge(self, max_bad_fraction: float) -> None:
        problems, bad = self._work.problems, sum(self._wrong.values())
        if self._rows == 0:
            problems.error("no-events", "The tables have no rows; there is nothing to learn from.")
        elif bad > max_bad_fraction * self._rows:
            problems.error(
                "too-many-bad-rows",
                f"{bad} of {self._rows} rows cannot be used ({bad / self._rows:.1%}; at most {max_bad_fraction:.1%} "
                "may be left out): mend the rows named here, or raise max_bad_fraction.",
            )
        elif bad:
            problems.warn("bad-rows-left-out", f"{bad} of {self._rows} rows cannot be used and are left out.")
        if self._early > self._kept / 2 > 0:
            problems.warn(
                "early-times",
                "Most times lie before 1990, so their unit may be another than it seems; set time_unit to s, ms or us.",
            )


def _check_types(spool: Spool, config: ValidationConfig, problems: Problems) -> None:
    wanted = config.events.types
    if wanted is None:
        return
    unknown = [name for name in wanted if name not in spool.by_type]
    if unknown:
        met = ", ".join(repr(name) for name in list(spool.by_type)[:20]) or "none"
        note = problems.warn if spool.events else problems.error
        note("unknown-type", f"No event has the type {', '.join(map(repr, unknown))}. There are: {met}.")


def _built_report(built: Built, problems: Problems) -> dict[str, Any]:
    filtered, cold = built.filtered, built.cold
    if count := filtered["duplicates"]:
        problems.warn("duplicate-events", f"{count} events repeat an earlier one exactly; drop_duplicates drops them.")
    if cold.items:
        lost = ", ".join(f"{cold.events[split]} of {split}" for split in cold.events)
        users = ", ".join(f"{cold.users[split]} in {split}" for split in cold.users)
        problems.warn(
            "cold-items",
            f"{cold.items} items are met in no training event; events left out with them: {lost}; users left without "
            f"any target: {users}.",
        )
    leakage = check_leakage(built.store, problems)
    held_out = {"val": (built.store.ends[:, 1] - built.store.ends[:, 0]).sum(), "test": leakage["test_targets"]}
    for split in (split for split, events in held_out.items() if not events):
        problems.warn("empty-split", f"The split {split} has no events; {_WITHOUT[split]}.")
    if (built.store.ends[:, 0] - built.store.offsets[:-1]).max() < 2:
        problems.warn("no-sequences", "No user has two training events, so no next item can be learned from it.")
    return {
        "filtered": filtered,
        "cold_items": {"items": cold.items, "events": cold.events, "users_without_target": cold.users},
        "leakage": leakage,
        **shape_figures(built.store, built.vocabulary.training_counts),
    }


def _features(tables: Tables, built: Built, work: Work) -> ItemFeatures | None:
    if tables.items is None:
        return None
    features = read_features(tables.items, built.vocabulary.ids, work.problems, work.watch)
    work.report["item_table"] = features.report
    return features
