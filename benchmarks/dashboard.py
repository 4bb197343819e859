"""What the dashboard costs the gateway: pages at 10,000 jobs and a million metric rows, and 100 open event streams.

A Postgres of its own, filled by COPY (`benchmarks.dashboard_rows`), and one gateway process; no inference service
runs. Of each route: the server's own time (`Server-Timing`), the CPU time of the gateway and of Postgres, and the size
of the answer, each the median of rounds in which the routes take turns; beside them what a relay asks Postgres when its
metrics are scraped. Of streams: the gateway's CPU time while
nothing happens, and the time from before an event's commit to its arrival, the client on the same machine. Run:

    python -m benchmarks.dashboard [--rounds 15] [--out benchmarks/results/dashboard.json]
"""

import argparse
import asyncio
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
import psutil
from sqlalchemy import Engine

from benchmarks import dashboard_rows as rows
from benchmarks.gateway_load import percentile_ms, wait_until_ready
from benchmarks.result_file import write_result
from libs.database.engine import make_engine, read_only, transaction
from libs.database.migrate import upgrade
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs import events
from libs.jobs.figures import queue_figures
from libs.jobs.moves import lock
from libs.jobs.spec import parse_spec
from libs.jobs.submit import submit
from services.gateway.dashboard.session.visit import COOKIE
from services.gateway.keys.service import ensure_local_key
from services.local.postgres import LocalPostgres
from services.local.process import free_port
from services.worker.celery_app import QUEUES

PAGE_LIMIT_MS, IDLE_LIMIT, DELIVERY_LIMIT_MS = 150.0, 0.05, 500.0
STREAMS, WATCHED = 100, 10
ROUTES = (
    "/", "/overview/now", "/overview/health", "/jobs", "/jobs?state=failed", "/jobs?name=job-7", "/jobs/rows",
    "/jobs/new", "/jobs/new?method=frskd", f"/jobs/new?from={rows.LONG}", f"/jobs/{rows.LONG}",
    f"/jobs/{rows.LONG}/now", f"/jobs/{rows.LONG}/log?before=5000", f"/jobs/{rows.LONG}/curves",
    f"/jobs/{rows.RUNNING}", f"/jobs/{rows.RUNNING}/now", "/datasets", "/datasets/set-1", "/new-dataset",
    "/models", "/models/model-0", "/models/model-0/versions/1", "/models/model-1/versions/1",
    "/schedules", "/schedules/nightly-1", "/schedules/nightly-1/edit", "/new-schedule?method=update",
    "/jobs?schedule=nightly-1", "/feedback",
    "/jobs/new?method=afd", "/try?deployment=served-1&other=model-9@4", "/deployments/served-1/traffic",
    "/models/compare?version=model-0@1&version=model-0@2", "/deployments", "/deployments/served-1",
    "/deployments/served-1/now", "/try", "/workers", "/keys", "/login",
)  # fmt: skip


class Stack(NamedTuple):
    """What is measured."""

    engine: Engine
    gateway: psutil.Process
    postgres: psutil.Process
    url: str
    key: str


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Everything that runs."""
    folder.chmod(0o755)
    with LocalPostgres(folder / "postgres", settings={"max_wal_size": "4GB"}) as server:
        engine = make_engine(server.url)
        upgrade(engine)
        with transaction(engine) as session:
            key = ensure_local_key(session, folder / "key")
        rows.fill(server.url)
        port = free_port()
        environment = {
            **os.environ,
            "OCTAVO_DATABASE_URL": server.url,
            "OCTAVO_HOME": str(folder / "home"),
            "OCTAVO_GATEWAY_PORT": str(port),
        }
        with (folder / "gateway.log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment, stdout=log)
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_ready(url, process)
                assert server.process is not None
                yield Stack(engine, psutil.Process(process.pid), psutil.Process(server.process.pid), url, key)
            finally:
                process.terminate()
                process.wait(30)
                engine.dispose()


@contextmanager
def logged_in(url: str, key: str) -> Iterator[httpx2.Client]:
    """A client with a session's cookie."""
    with httpx2.Client(base_url=url, headers={"Accept": "text/html"}, timeout=60) as client:
        answer = client.post("/login", data={"key": key})
        assert answer.status_code == 303, answer.text
        yield client


def cpu_ms(process: psutil.Process) -> float:
    """CPU time of a process and of its living children, by the kernel's clocks, finer than its ticks of 10 ms."""
    family = [process, *process.children()]
    return sum(time.clock_gettime(~one.pid << 3 | 2) for one in family) * 1e3  # clock_getcpuclockid(3)


def server_ms(answer: httpx2.Response) -> float:
    """The time from the request's arrival to its answer's head, by the server's own clock."""
    found = re.search(r"total;dur=([\d.]+)", answer.headers["server-timing"])
    assert found is not None
    return float(found[1])


def measure_routes(
    client: httpx2.Client, gateway: psutil.Process, postgres: psutil.Process, rounds: int
) -> dict[str, dict[str, float]]:
    """Route → medians; the first round is left out."""
    seen: dict[str, list[tuple[float, ...]]] = {route: [] for route in ROUTES}
    for _ in range(rounds + 1):
        for route in ROUTES:
            before = cpu_ms(gateway), cpu_ms(postgres)
            answer = client.get(route)
            cpu, database_cpu = cpu_ms(gateway) - before[0], cpu_ms(postgres) - before[1]
            assert answer.status_code == 200, (route, answer.status_code, answer.text[:2000])
            seen[route].append((server_ms(answer), cpu, database_cpu, len(answer.content) / 1e3))
    return {route: _summary(found[1:]) for route, found in seen.items()}


def measure_scrape(engine: Engine, postgres: psutil.Process, rounds: int) -> dict[str, float]:
    """What a relay reads when its metrics are scraped: medians of wall and Postgres's CPU time."""
    seen = []
    for _ in range(rounds + 1):
        before, begun = cpu_ms(postgres), time.perf_counter()
        with read_only(engine) as session:
            queue_figures(session, 30.0, QUEUES)
        seen.append(((time.perf_counter() - begun) * 1e3, cpu_ms(postgres) - before))
    wall, cpu = zip(*seen[1:], strict=True)
    return {"wall_ms": statistics.median(wall), "postgres_cpu_ms": statistics.median(cpu)}


def _summary(found: Sequence[tuple[float, ...]]) -> dict[str, float]:
    names = ("server_ms", "gateway_cpu_ms", "postgres_cpu_ms", "kilobytes")
    columns = dict(zip(names, zip(*found, strict=True), strict=True))
    medians = {name: statistics.median(column) for name, column in columns.items()}
    return {**medians, "server_max_ms": max(columns["server_ms"])}


async def measure_streams(running: Stack, cookie: str, idle_s: float, sent: int) -> dict[str, float]:
    """CPU of the gateway while `STREAMS` streams of `WATCHED` jobs wait, and the times of events to their readers."""
    engine, gateway = running.engine, running.gateway
    with transaction(engine) as session:
        spec = parse_spec({"method": "frskd", "datasets": {"train": "set-1@1"}})
        watched = [submit(session, DEFAULT_PROJECT_ID, spec).id for _ in range(WATCHED)]
    arrivals: list[float] = []
    jobs = [watched[number % WATCHED] for number in range(STREAMS)]
    readers = [asyncio.create_task(_read(running.url, cookie, job_id, arrivals)) for job_id in jobs]
    await asyncio.sleep(3)  # each has read what there was
    before, begun = cpu_ms(gateway), time.perf_counter()
    await asyncio.sleep(idle_s)
    idle = (cpu_ms(gateway) - before) / 1e3 / (time.perf_counter() - begun)
    arrivals.clear()
    before = cpu_ms(gateway)
    for number in range(sent):
        await asyncio.to_thread(_tell, engine, watched[number % WATCHED])
        await asyncio.sleep(0.1)
    expected = sent * STREAMS // WATCHED
    async with asyncio.timeout(30):
        while len(arrivals) < expected:
            await asyncio.sleep(0.05)
    busy = cpu_ms(gateway) - before
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return {
        "streams": STREAMS,
        "idle_s": idle_s,
        "idle_share_of_a_core": idle,
        "deliveries": len(arrivals),
        "delivery_p50_ms": percentile_ms(arrivals, 50),
        "delivery_p99_ms": percentile_ms(arrivals, 99),
        "delivery_max_ms": max(arrivals) * 1e3,
        "gateway_cpu_ms_per_delivery": busy / len(arrivals),
    }


def _tell(engine: Engine, job_id: UUID) -> None:
    """An event that carries the time of its writing; the commit comes after it, and counts."""
    with transaction(engine) as session:
        job = lock(session, job_id)
        events.append(session, job, [("log", {"level": "info", "message": "now", "fields": {"sent": time.time()}})])


async def _read(url: str, cookie: str, job_id: UUID, arrivals: list[float]) -> None:
    """Read a job's stream as an EventSource does; a plain socket, so that this process costs little."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    request = (
        f"GET /jobs/{job_id}/stream HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n"
        f"Cookie: {COOKIE}={cookie}\r\n\r\n"
    )
    writer.write(request.encode())
    assert b" 200 " in await reader.readline()
    try:
        while line := await reader.readline():
            if found := re.search(rb'"sent":([\d.]+)', line):
                arrivals.append(time.time() - float(found[1]))
    finally:
        writer.close()


def main(rounds: int, idle_s: float, sent: int, out: Path | None) -> int:
    """Measure, print, compare with the limits."""
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="octavo-dashboard-") as folder,
        stack(Path(folder)) as running,
        logged_in(running.url, running.key) as client,
    ):
        routes = measure_routes(client, running.gateway, running.postgres, rounds)
        scrape = measure_scrape(running.engine, running.postgres, rounds)
        streams = asyncio.run(measure_streams(running, client.cookies[COOKIE], idle_s, sent))
    machine = {"cores": os.cpu_count(), "load_before": load, "python": platform.python_version(), "rounds": rounds}
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}, {rounds} rounds; times in ms")
    print(f"{'route':<60} {'server':>7} {'max':>7} {'gateway':>8} {'postgres':>9} {'kB':>7}")
    over = []
    for route, found in routes.items():
        shown = route.replace(str(rows.LONG), "LONG").replace(str(rows.RUNNING), "RUNNING")
        verdict = "" if found["server_ms"] <= PAGE_LIMIT_MS else "   OVER"
        over += [shown] if verdict else []
        print(
            f"{shown:<60} {found['server_ms']:7.1f} {found['server_max_ms']:7.1f} {found['gateway_cpu_ms']:8.1f} "
            f"{found['postgres_cpu_ms']:9.1f} {found['kilobytes']:7.1f}{verdict}"
        )
    print(f"the queue's figures for a scrape: {scrape['wall_ms']:.1f}, Postgres {scrape['postgres_cpu_ms']:.1f}")
    for name, value in streams.items():
        print(f"{name:<30} {value:10.4g}")
    over += ["idle streams"] if streams["idle_share_of_a_core"] > IDLE_LIMIT else []
    over += ["delivery"] if streams["delivery_p99_ms"] > DELIVERY_LIMIT_MS else []
    print(f"over their limits: {', '.join(over) or 'none'}")
    write_result({"machine": machine, "routes": routes, "scrape": scrape, "streams": streams}, out)
    return int(bool(over))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--idle-s", type=float, default=30.0, help="how long the streams are left alone")
    parser.add_argument("--events", type=int, default=200, help="events, each to a tenth of the streams")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    sys.exit(main(asked.rounds, asked.idle_s, asked.events, asked.out))
