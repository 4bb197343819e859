"""Peak memory and speed of making a data set of events: generated, written as CSV, then validated in a fresh process.

Resident memory counts the pages of mapped files while they are there; the anonymous part, which a machine cannot give
back, is told beside it. `--bad-line` breaks the timestamp of one line (from 1, the header's is 1): the report must name
it, and nothing else. Run:

    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m benchmarks.recommendation.preprocessing --events 10000000 \\
        --users 500000 --items 200000 --bad-line 7654321 --folder SCRATCH --out RESULT.json

Small, to try it: no options.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.quiet_run import QuietRun
from benchmarks.recommendation.training_memory import AnonymousPeak, scratch_folder
from benchmarks.result_file import write_result
from libs.data.config import EventOptions, ValidationConfig
from libs.data.validate import run as validate
from libs.training.run import Inputs

_ROWS_AT_A_TIME = 1 << 20
_YEAR_S = 365 * 86_400
_BEGIN_S = 1_600_000_000


def generate(path: Path, events: int, users: int, items: int, bad_line: int | None = None, seed: int = 0) -> None:
    """Events in the order of nobody: popular items by a Zipf law, users alike, times over a year; one broken."""
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
            frame = frame.with_columns(users_named, items_named, pl.col("timestamp").cast(pl.String))
            if bad_line is not None and 0 <= (row := bad_line - 2 - begin) < count:
                frame[row, "timestamp"] = "next tuesday"
            frame.write_csv(file, include_header=begin == 0)


def measure(folder: Path, min_events: int, answer: Any) -> None:
    """Validate what lies in `folder`; time, peak memory and what came out. Runs in a process of its own."""
    config = ValidationConfig(
        kind="events", events=EventOptions(min_user_events=min_events, min_item_events=min_events)
    )
    work = folder / "run"
    work.mkdir()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu_started = time.perf_counter(), time.process_time()
    with AnonymousPeak() as anonymous:
        outcome = validate(config, Inputs(datasets={"upload": folder}), QuietRun(work))
    taken_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    report = outcome.details["report"]
    answer.put(
        {
            "rows": report["rows"],
            "events": report["events"],
            "users": report["users"],
            "items": report["items"],
            "seconds": round(taken_s, 2),
            "cpu_s": round(cpu_s, 2),
            "rows_per_cpu_s": round(report["rows"] / cpu_s),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "peak_anonymous_mib": anonymous.kib >> 10,
            "rss_before_mib": before_kib >> 10,
            "data_set_mib": report["size_bytes"] >> 20,
            "bad_rows": report["bad_rows"],
            "problems": [problem["message"] for problem in report["problems"]],
        }
    )


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--min-events", type=int, default=5, help="of the k-core")
    parser.add_argument("--bad-line", type=int, help="whose timestamp is broken")
    parser.add_argument("--folder", type=Path, default=None, help="for about 90 bytes an event; else the system's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with scratch_folder(options.folder) as folder:
        generate(folder / "upload", options.events, options.users, options.items, options.bad_line)
        (folder / "upload.name").write_text("events.csv", encoding="utf-8")
        context = multiprocessing.get_context("spawn")
        answer = context.Queue()
        child = context.Process(target=measure, args=(folder, options.min_events, answer))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(child.exitcode)
        csv_mib = (folder / "upload").stat().st_size >> 20
        result = {**answer.get(), "csv_mib": csv_mib}
    print(json.dumps(result, indent=2))
    if options.bad_line is not None:
        named = f"Line {options.bad_line} of 'events.csv' has a time that cannot be read."
        assert result["bad_rows"] == {"unreadable-time": 1}, result["bad_rows"]
        assert named in result["problems"], result["problems"]
    write_result(result, options.out)


if __name__ == "__main__":
    main()
