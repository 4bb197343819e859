"""How long the local stack takes from nothing to ready, and what its services weigh.

Every round has a new home: initdb, migration, keys, all services. After the last round a small model is trained and
served, and the resident memory of the gateway and the model server is read while both answer. Run:

    python -m benchmarks.local_start [--rounds 5] [--out benchmarks/results/local_start.json]
"""

import argparse
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from benchmarks.result_file import write_result
from libs.client.client import Octavo
from services.local.layout import Layout, StackState

LIMITS = {"ready_s": 20.0, "gateway_mb": 150.0, "model_server_mb": 250.0}
CLI = [sys.executable, "-c", "from libs.client.cli import main; main()"]


@contextmanager
def stack(**environment: str) -> Iterator[tuple[StackState, float]]:
    """A stack in a home of its own; its state, and the seconds from the command to its return."""
    with tempfile.TemporaryDirectory(prefix="octavo-bench-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        variables = {**os.environ, "OCTAVO_HOME": str(home), **environment}
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the stack is stopped then too
        begun = time.perf_counter()
        try:
            subprocess.run([*CLI, "up", "--detach"], env=variables, check=True, stdout=subprocess.DEVNULL)
            took_s = time.perf_counter() - begun
            state = Layout(home).running()
            assert state is not None
            yield state, took_s
        finally:
            subprocess.run([*CLI, "down"], env=variables, check=True, stdout=subprocess.DEVNULL)


def client(state: StackState) -> Octavo:
    """A client of that stack."""
    return Octavo(state.url, state.key_file.read_text().strip())


def upload_small(octavo: Octavo, folder: Path) -> str:
    """A data set of 64 pictures of 8x8 in two classes; its reference."""
    random = np.random.default_rng(0)
    x = random.integers(0, 255, (64, 8, 8), dtype=np.uint8)
    np.savez(folder / "small.npz", x=x, y=np.arange(64) % 2)
    return octavo.datasets.wait_ready(octavo.datasets.upload("small", folder / "small.npz")).reference


def serve_small(octavo: Octavo) -> None:
    """Train a small network for one epoch, serve it, and ask it once."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = upload_small(octavo, Path(folder))
    config = {"model": "resnet8", "epochs": 1, "batch_size": 16}
    octavo.jobs.submit("supervised", datasets={"train": dataset}, config=config).wait()
    octavo.deployments.create("small-supervised")
    octavo.deployments.wait_ready("small-supervised")


def resident_mb(state: StackState) -> dict[str, float]:
    """Service → resident memory in MB (10^6 bytes), its children included."""
    found = {}
    for one in state.services:
        if one.pid is not None:
            process = psutil.Process(one.pid)
            everyone = [process, *process.children(recursive=True)]
            found[one.name] = sum(each.memory_info().rss for each in everyone) / 1e6
    return found


def main(rounds: int, out: Path | None) -> int:
    """Measure, print, compare with the limits."""
    starts, weights = [], {}
    for number in range(rounds):
        with stack() as (state, took_s):
            starts.append(took_s)
            print(f"round {number + 1}: ready after {took_s:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            if number == rounds - 1:
                with client(state) as octavo:
                    serve_small(octavo)
                    weights = resident_mb(state)
    figures = {
        "ready_s": statistics.median(starts),
        "gateway_mb": weights["gateway"],
        "model_server_mb": weights["model-server"],
    }
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, value in figures.items():
        print(f"  {name:16} {value:7.1f}   limit {LIMITS[name]:5.0f}   {'ok' if value <= LIMITS[name] else 'OVER'}")
    print("  " + ", ".join(f"{name} {value:.0f} MB" for name, value in weights.items()))
    write_result({"ready_s": starts, "resident_mb": weights, "cores": os.cpu_count()}, out)
    return int(any(value > LIMITS[name] for name, value in figures.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sys.exit(main(arguments.rounds, arguments.out))
