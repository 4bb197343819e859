"""Peak memory and speed of making a data set of events: generated, written as CSV, then validated in a fresh process.

python -m benchmarks.recommendation.preprocessing --events 2000000 --users 100000 --items 50000
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.quiet_run import QuietRun
from libs.data.config import EventOptions, ValidationConfig
from libs.data.validate import run as validate
from libs.training.run import Inputs

_ROWS_AT_A_TIME = 1 << 20
_YEAR_S = 365 * 86_400
_BEGIN_S = 1_600_000_000


def generate(path: Path, events: int, users: int, items: int, seed: int = 0) -> None:
    """Events in the order of nobody: popular items by a Zipf law, users alike, times over a year."""
    random = np.random.default_rng(seed)
    weights = np.cumsum(1 / np.arange(1, items + 1))
    with path.open("wb") as file:
        for begin in range(0, events, _ROWS_AT_A_TIME):
            count = min(_ROWS_AT_A_TIME, events - begin)
            numbers = {
                "user_id": random.integers(0, users, count),
                "item_id": np.searchsorted(weights, random.random(count) * weights[-1]),
            }
            frame = pl.DataFrame({**numbers, "timestamp": random.integers(_BEGIN_S, _BEGIN_S + _YEAR_S, count)})
            users_named = pl.format("user-{}", "user_id").alias("user_id")
            items_named = pl.format("item-{}", "item_id").alias("item_id")
            frame.with_columns(users_named, items_named).write_csv(file, include_header=begin == 0)


def measure(folder: Path, min_events: int, answer: Any) -> None:
    """Validate what lies in `folder`; time, peak memory and what came out. Runs in a process of its own."""
    config = ValidationConfig(
        kind="events", events=EventOptions(min_user_events=min_events, min_item_events=min_events)
    )
    work = folder / "run"
    work.mkdir()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    outcome = validate(config, Inputs(datasets={"upload": folder}), QuietRun(work))
    taken_s = time.perf_counter() - started
    report = outcome.details["report"]
    answer.put(
        {
            "rows": report["rows"],
            "events": report["events"],
            "users": report["users"],
            "items": report["items"],
            "seconds": round(taken_s, 2),
            "rows_per_s": round(report["rows"] / taken_s),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "rss_before_mib": before_kib >> 10,
            "data_set_mib": report["size_bytes"] >> 20,
        }
    )


@contextmanager
def _scratch(given: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=given) as folder:
        yield Path(folder)


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--min-events", type=int, default=5, help="of the k-core")
    parser.add_argument("--folder", type=Path, default=None, help="for about 90 bytes an event; else the system's")
    options = parser.parse_args()
    with _scratch(options.folder) as folder:
        generate(folder / "upload", options.events, options.users, options.items)
        (folder / "upload.name").write_text("events.csv", encoding="utf-8")
        context = multiprocessing.get_context("spawn")
        answer = context.Queue()
        child = context.Process(target=measure, args=(folder, options.min_events, answer))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(child.exitcode)
        csv_mib = (folder / "upload").stat().st_size >> 20
        print(json.dumps({**answer.get(), "csv_mib": csv_mib}, indent=2))


if __name__ == "__main__":
    main()
