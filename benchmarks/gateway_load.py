"""What one gateway process bears: job submissions at a fixed rate, pages of a long list, and what it weighs.

A Postgres of its own with fsync and synchronous_commit on, one gateway process, an open-loop client: requests leave at
their times whether or not earlier ones were answered, and a latency counts from the time a request was due. CPU time
is the gateway process's own; Postgres and the client share the machine and are reported beside it. Run:

    python -m benchmarks.gateway_load --rate 100 --seconds 20 --out benchmarks/results/gateway_load.json
"""

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import psutil

from benchmarks.result_file import write_result
from libs.data.manifest import ImagesManifest, SplitCounts
from libs.database.engine import make_engine, transaction
from libs.database.migrate import upgrade
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry import datasets
from libs.registry.artifacts import StoredFolder
from services.gateway.keys.service import ensure_local_key
from services.local.postgres import LocalPostgres
from services.local.process import free_port

JOB = {"method": "frskd", "datasets": {"train": "digits"}, "config": {"epochs": 5, "beta": 100}}
LISTED = 1000
PAGE = 50


@dataclass(frozen=True)
class Figures:
    """What was measured. Times in ms; latencies from the time a request was due."""

    posts: int
    errors: int
    error_kinds: dict[str, int]
    rate_wanted: float
    rate_done: float
    post_p50_ms: float
    post_p90_ms: float
    post_p99_ms: float
    gateway_cpu_ms_per_post: float
    postgres_cpu_ms_per_post: float
    pages: int
    page_p50_ms: float
    page_p90_ms: float
    gateway_cpu_ms_per_page: float
    rss_mb_at_start: float
    rss_mb_at_end: float


@contextmanager
def stack(folder: Path) -> Iterator[tuple[psutil.Process, psutil.Process, httpx2.AsyncClient]]:
    """Postgres and gateway processes, and a client with a key."""
    folder.chmod(0o755)
    settings = {"synchronous_commit": "on"}
    with LocalPostgres(folder / "postgres", fsync=True, settings=settings) as server:
        key = prepare(server.url, folder)
        environment = {**os.environ, "OCTAVO_DATABASE_URL": server.url, "OCTAVO_HOME": str(folder / "home")}
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"],
            env={**environment, "OCTAVO_GATEWAY_PORT": str(port)},
            stdout=(folder / "gateway.log").open("w"),
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, process)
            limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
            headers = {"Authorization": f"Bearer {key}"}
            client = httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits)
            assert server.process is not None
            yield psutil.Process(process.pid), psutil.Process(server.process.pid), client
        finally:
            process.terminate()
            process.wait(30)


def prepare(url: str, folder: Path) -> str:
    """Migrate, make a key and a ready data set; the key."""
    engine = make_engine(url)
    upgrade(engine)
    counts = SplitCounts(pictures=100, by_class=[50, 50])
    manifest = ImagesManifest(
        storage="arrays",
        classes=["a", "b"],
        splits={"train": counts},
        channels=1,
        height=8,
        width=8,
        uniform_size=True,
        mean=[0.5],
        std=[0.5],
        digest="0" * 64,
        size_bytes=1,
    )
    with transaction(engine) as session:
        version = datasets.create_version(session, DEFAULT_PROJECT_ID, "digits", {"upload": "digits.npz"})
        datasets.mark_uploaded(session, version.id, "file:///none", 1, uuid4())
        datasets.mark_ready(session, version.id, StoredFolder("file:///none", "0" * 64, 1, {}), manifest, {})
        key = ensure_local_key(session, folder / "key")
    engine.dispose()
    return key


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            continue
    raise RuntimeError("the gateway did not become ready; see gateway.log")


async def submit_at_rate(
    client: httpx2.AsyncClient, rate: float, seconds: float
) -> tuple[list[float], Counter[str], float]:
    """Latencies in s, errors by kind, and the time it took until the last answer in s."""
    count, latencies = round(rate * seconds), []
    errors: Counter[str] = Counter()
    begun = time.perf_counter()

    async def one(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer = await client.post("/v1/jobs", json={**JOB, "seed": number})
            if answer.status_code != 202:
                errors[f"{answer.status_code} {answer.json()['code']}"] += 1
        except httpx2.HTTPError as error:
            errors[type(error).__name__] += 1
        latencies.append(time.perf_counter() - due)

    await asyncio.gather(*(one(number) for number in range(count)))
    return latencies, errors, time.perf_counter() - begun


async def list_pages(client: httpx2.AsyncClient, rounds: int) -> list[float]:
    """Times in s of the pages of the first `LISTED` queued jobs."""
    times = []
    for _ in range(rounds):
        cursor, seen = None, 0
        while seen < LISTED:
            params = {"status": "queued", "limit": PAGE, **({"cursor": cursor} if cursor else {})}
            begun = time.perf_counter()
            answer = (await client.get("/v1/jobs", params=params)).raise_for_status().json()
            times.append(time.perf_counter() - begun)
            seen, cursor = seen + len(answer["items"]), answer["next_cursor"]
            if cursor is None and seen < LISTED:
                raise RuntimeError(f"only {seen} jobs are queued; submit at least {LISTED}")
    return times


def cpu_s(process: psutil.Process) -> float:
    """CPU time of a process and of its children, living and gone."""
    own = process.cpu_times()
    living = [child.cpu_times() for child in process.children(recursive=True)]
    return own.user + own.system + own.children_user + own.children_system + sum(t.user + t.system for t in living)


def percentile_ms(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1] * 1e3


async def measure(folder: Path, rate: float, seconds: float, rounds: int) -> Figures:
    with stack(folder) as (gateway, postgres, client):
        async with client:
            await submit_at_rate(client, 20, 1)  # connections, prepared statements, caches
            rss_start = gateway.memory_info().rss
            cpu, database_cpu = cpu_s(gateway), cpu_s(postgres)
            latencies, errors, took_s = await submit_at_rate(client, rate, seconds)
            cpu, database_cpu = cpu_s(gateway) - cpu, cpu_s(postgres) - database_cpu
            page_cpu = cpu_s(gateway)
            pages = await list_pages(client, rounds)
            page_cpu = cpu_s(gateway) - page_cpu
            return Figures(
                posts=len(latencies),
                errors=errors.total(),
                error_kinds=dict(errors),
                rate_wanted=rate,
                rate_done=len(latencies) / took_s,
                post_p50_ms=percentile_ms(latencies, 50),
                post_p90_ms=percentile_ms(latencies, 90),
                post_p99_ms=percentile_ms(latencies, 99),
                gateway_cpu_ms_per_post=cpu / len(latencies) * 1e3,
                postgres_cpu_ms_per_post=database_cpu / len(latencies) * 1e3,
                pages=len(pages),
                page_p50_ms=percentile_ms(pages, 50),
                page_p90_ms=percentile_ms(pages, 90),
                gateway_cpu_ms_per_page=page_cpu / len(pages) * 1e3,
                rss_mb_at_start=rss_start / 1e6,
                rss_mb_at_end=gateway.memory_info().rss / 1e6,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="submissions a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=9, help=f"times the first {LISTED} jobs are listed")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="octavo-gateway-load-") as folder:
        figures = asdict(asyncio.run(measure(Path(folder), asked.rate, asked.seconds, asked.rounds)))
    for name, value in figures.items():
        print(f"{name:<26} {value:>10.2f}" if isinstance(value, float) else f"{name:<26} {value!s:>10}")
    machine = {"cores": os.cpu_count(), "load_before": load_before, "python": platform.python_version()}
    write_result({"machine": machine, "page_size": PAGE, **figures}, asked.out)


if __name__ == "__main__":
    main()
