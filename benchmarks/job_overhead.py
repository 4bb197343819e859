"""What the platform adds to a job: from the POST to the first optimiser step, beside `import torch` alone.

Rounds are interleaved: a fresh process imports torch and tells how long that took; then a tiny job is submitted to an
idle stack. The first step is the job's first event with a training loss, by the clock of Postgres, so the time to
report it counts too; reports are written every 50 ms here (`OCTAVO_WORKER_FLUSH_S`) instead of every 500 ms. Run:

    python -m benchmarks.job_overhead [--rounds 9] [--out benchmarks/results/job_overhead.json]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.local_start import client, stack, upload_small
from benchmarks.result_file import write_result
from libs.client.client import Octavo

BASE_S, TIMES_IMPORT = 0.5, 1.3
IMPORT = "import time; t = time.perf_counter(); import torch; print(time.perf_counter() - t)"
CONFIG = {"model": "resnet8", "epochs": 1, "max_steps": 1, "batch_size": 16}


def import_torch_s() -> float:
    """Seconds of `import torch` in a fresh process."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def first_step_s(octavo: Octavo, dataset: str) -> float:
    """Seconds from before the POST to the first reported optimiser step; waits for the job's end."""
    posted = time.time()
    job = octavo.jobs.submit("supervised", datasets={"train": dataset}, config=CONFIG)
    stepped = None
    for event in job.events():
        if stepped is None and event.kind == "metrics" and "train/loss" in event.data["values"]:
            assert event.at is not None
            stepped = datetime.fromisoformat(event.at).timestamp()
    job.wait()
    assert stepped is not None, "the job reported no training loss"
    return stepped - posted


def main(rounds: int, out: Path | None) -> int:
    """Measure, print, compare with the limit."""
    imports, jobs = [], []
    with (
        stack(OCTAVO_WORKER_FLUSH_S="0.05") as (state, _),
        client(state) as octavo,
        tempfile.TemporaryDirectory() as folder,
    ):
        dataset = upload_small(octavo, Path(folder))
        first_step_s(octavo, dataset)  # fills caches on both sides
        import_torch_s()
        for number in range(rounds):
            imports.append(import_torch_s())
            jobs.append(first_step_s(octavo, dataset))
            load = os.getloadavg()[0]
            print(
                f"round {number + 1}: import torch {imports[-1]:.2f} s, first step {jobs[-1]:.2f} s, load {load:.1f}",
                flush=True,
            )
    import_s, job_s = statistics.median(imports), statistics.median(jobs)
    limit_s = BASE_S + TIMES_IMPORT * import_s
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {rounds} rounds, p50")
    print(f"  import torch {import_s:.2f} s, POST to first step {job_s:.2f} s")
    print(f"  limit {BASE_S} s + {TIMES_IMPORT} x import = {limit_s:.2f} s   {'ok' if job_s <= limit_s else 'OVER'}")
    write_result({"import_torch_s": imports, "first_step_s": jobs, "cores": os.cpu_count()}, out)
    return int(job_s > limit_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sys.exit(main(arguments.rounds, arguments.out))
