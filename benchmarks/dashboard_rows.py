"""Rows of a project that has been used for a while, written by COPY, for `benchmarks.dashboard`."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import make_url

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs.spec import parse_spec

JOBS, METRIC_ROWS, EVENTS_A_JOB = 10_000, 1_000_000, 20
LONG_EVENTS, LONG_NAMES, LONG_STEPS = 10_000, 10, 10_000
DATASETS, MODELS, VERSIONS, LONG_VERSIONS, DERIVED = 1000, 1000, 4, 100, 40
DEPLOYMENTS, KEYS, WORKERS, SCHEDULES, RUNS = 200, 200, 100, 200, 100
LONG, RUNNING = UUID(int=10**9), UUID(int=10**9 + 1)
"""A job of many events and metrics, and one that runs."""
_NOW = datetime.now(UTC)
_STATES = ("succeeded",) * 90 + ("failed",) * 6 + ("cancelled",) * 3 + ("queued",)
_SHORT_NAMES = ("train/loss", "val/loss", "val/accuracy")

Row = Mapping[str, Any]


def fill(url: str) -> None:
    """Write all rows, and let Postgres look at them."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as connection:
        connection.execute("ALTER TABLE job_events DISABLE TRIGGER USER")  # nobody waits for a NOTIFY
        for table, rows in _tables().items():
            _copy(connection, table, rows)
        connection.execute("ALTER TABLE job_events ENABLE TRIGGER USER")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _copy(connection: psycopg.Connection, table: str, rows: Iterator[Row]) -> None:
    first = next(rows)
    columns = sql.SQL(", ").join(map(sql.Identifier, first))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as writer:
        for row in itertools.chain((first,), rows):
            writer.write_row([Jsonb(value) if isinstance(value, dict) else value for value in row.values()])


def _tables() -> dict[str, Iterator[Row]]:
    """Rows by table, in an order that foreign keys allow; the rows of a table have the same columns."""
    return {
        "datasets": _datasets(),
        "dataset_versions": _dataset_versions(),
        "jobs": _jobs(),
        "job_attempts": _attempts(),
        "job_events": _events(),
        "job_metrics": _metrics(),
        "artifacts": _artifacts(),
        "models": _models(),
        "model_versions": _model_versions(),
        "model_aliases": _aliases(),
        "deployments": _deployments(),
        "api_keys": _keys(),
        "workers": _workers(),
        "schedules": _schedules(),
        "schedule_runs": _runs(),
    }


def _id(kind: int, number: int) -> UUID:
    return UUID(int=kind * 10**12 + number)


def _owned(kind: int, number: int, of: int) -> dict[str, Any]:
    """Columns of every owned row; the last of `of` is the newest."""
    return {
        "id": _id(kind, number),
        "project_id": DEFAULT_PROJECT_ID,
        "created_at": _NOW - timedelta(minutes=of - number),
    }


def _datasets() -> Iterator[Row]:
    for n in range(DATASETS):
        yield {**_owned(1, n, DATASETS), "name": f"set-{n}", "description": "Pictures of cats, and of what is none."}


def _dataset_versions() -> Iterator[Row]:
    classes = [f"class {n}" for n in range(100)]
    for n in range(DATASETS):
        counts = {"pictures": 5000, "by_class": [50] * 100}
        manifest = {
            "kind": "images", "storage": "arrays", "in_place": None, "classes": classes,
            "splits": {"train": counts, "val": counts, "test": counts}, "channels": 3, "height": 32, "width": 32,
            "uniform_size": True, "mean": [0.5] * 3, "std": [0.2] * 3, "digest": _digest(1, n), "size_bytes": 10**7,
        }  # fmt: skip
        yield {
            **_owned(2, n, DATASETS), "dataset_id": _id(1, n), "version": 1, "kind": "images", "status": "ready",
            "source": {"public": "cifar10"}, "upload_size_bytes": 0, "uri": "file:///none", "digest": _digest(1, n),
            "size_bytes": 10**7, "report": {"notes": [], "problems": []}, "manifest": manifest,
        }  # fmt: skip


def _digest(kind: int, number: int) -> str:
    return f"{kind * 10**12 + number:064x}"


def _spec() -> dict[str, Any]:
    asked = {"method": "frskd", "datasets": {"train": "set-1@1"}, "config": {"epochs": 5, "beta": 100}}
    return parse_spec(asked).model_dump(mode="json")


def _jobs() -> Iterator[Row]:
    spec = _spec()
    for n in range(JOBS):
        yield _job(_id(3, n), f"job-{n}", _STATES[n % 100], spec, n, EVENTS_A_JOB)
    yield _job(LONG, "long", "succeeded", spec, JOBS, LONG_EVENTS)
    yield _job(RUNNING, "running", "running", spec, JOBS + 1, EVENTS_A_JOB)


def _job(job_id: UUID, name: str, status: str, spec: Row, place: int, events: int) -> Row:
    made = _NOW - timedelta(minutes=JOBS + 2 - place)
    ended = status not in ("queued", "running")
    return {
        "id": job_id, "project_id": DEFAULT_PROJECT_ID, "created_at": made, "name": name, "method": "frskd",
        "spec": spec, "status": status, "queue": "cpu", "priority": 0, "epoch": 1, "attempts_used": 1,
        "max_attempts": 3, "queued_at": made, "started_at": None if status == "queued" else made,
        "finished_at": made + timedelta(minutes=3) if ended else None, "progress": 1.0 if ended else 0.5,
        "progress_note": "epoch 3", "last_event_seq": events,
        "lease_expires_at": _NOW + timedelta(days=1) if status == "running" else None,
        "result": {"metrics": {"test/accuracy": 0.9}, "details": {"epochs": 5}} if status == "succeeded" else None,
        "error": {"error": "RuntimeError", "message": "no"} if status == "failed" else None,
        "schedule": f"nightly-{place % SCHEDULES}" if place % 3 else None,
    }  # fmt: skip


def _attempts() -> Iterator[Row]:
    for job_id, _ in _every_job():
        yield {"job_id": job_id, "epoch": 1, "worker_id": _id(9, 0), "started_at": _NOW, "exit_reason": "ok"}


def _every_job() -> Iterable[tuple[UUID, int]]:
    short = ((_id(3, n), EVENTS_A_JOB) for n in range(JOBS))
    return itertools.chain(short, ((LONG, LONG_EVENTS), (RUNNING, EVENTS_A_JOB)))


def _events() -> Iterator[Row]:
    line = {"level": "info", "message": "a line of the log that says what happens just now", "fields": {"step": 7}}
    for job_id, count in _every_job():
        for seq in range(1, count + 1):
            moved = seq in (1, 2, 3, count)
            kind, data = ("status", {"from": "queued", "to": "running", "epoch": 1}) if moved else ("log", line)
            yield {"job_id": job_id, "seq": seq, "kind": kind, "data": data, "at": _NOW}


def _metrics() -> Iterator[Row]:
    steps = (METRIC_ROWS - LONG_NAMES * LONG_STEPS) // (JOBS * len(_SHORT_NAMES))
    for n in range(JOBS):
        for name, step in itertools.product(_SHORT_NAMES, range(1, steps + 1)):
            yield {"job_id": _id(3, n), "name": name, "step": step, "epoch": 1, "value": 1 / step, "at": _NOW}
    for number, step in itertools.product(range(LONG_NAMES), range(1, LONG_STEPS + 1)):
        value = math.sin(step / 500) + number
        yield {"job_id": LONG, "name": f"train/part{number}", "step": step, "epoch": 1, "value": value, "at": _NOW}


def _artifacts() -> Iterator[Row]:
    names = ("report.html", *(f"file-{n}.txt" for n in range(30)))
    for n, name in enumerate(names):
        yield {
            **_owned(4, n, len(names)), "job_id": LONG, "kind": "file", "name": name, "uri": "file:///none",
            "digest": _digest(4, n), "size_bytes": 1000, "media_type": "text/plain",
        }  # fmt: skip


def _models() -> Iterator[Row]:
    for n in range(MODELS):
        last = LONG_VERSIONS if n == 0 else VERSIONS
        yield {**_owned(5, n, MODELS), "name": f"model-{n}", "description": "", "last_version": last}


def _model_versions() -> Iterator[Row]:
    numbers = ((n, v) for n in range(MODELS) for v in range(1, (LONG_VERSIONS if n == 0 else VERSIONS) + 1))
    for place, (n, version) in enumerate(numbers):
        parents = {"init": _digest(6, 0)} if 1 <= n <= DERIVED and version == 1 else {}
        lineage = {"method": "frskd", "seed": 0, "code_version": "1", "config": _spec()["config"],
                   "dataset_digests": {"train": _digest(1, n % DATASETS)}, "parent_digests": parents}  # fmt: skip
        bundle = {"task": "image-classification", "architecture": "wrn-16-2", "labels": [f"class {n}" for n in
                  range(100)], "parameters": 10**6, "temperature": 1.0}  # fmt: skip
        yield {
            **_owned(6, place, MODELS * VERSIONS + LONG_VERSIONS), "model_id": _id(5, n), "version": version,
            "status": "ready", "job_id": _id(3, place), "method": "frskd", "task": "image-classification",
            "uri": "file:///none", "digest": _digest(6, place), "size_bytes": 10**6, "bundle": bundle,
            "metrics": {"test/accuracy": 0.9, "test/nll": 0.3, "val/accuracy": 0.91, "test/ece": 0.02},
            "lineage": lineage, "gates": {"parity": {"passed": True, "max_abs_diff": 1e-6}},
        }  # fmt: skip


def _aliases() -> Iterator[Row]:
    place = LONG_VERSIONS - 1
    yield {"model_id": _id(5, 0), "alias": "production", "version_id": _id(6, place), "revision": 1, "updated_at": _NOW}


def _deployments() -> Iterator[Row]:
    for n in range(DEPLOYMENTS):
        yield {
            **_owned(7, n, DEPLOYMENTS), "name": f"served-{n}", "model_id": _id(5, 0), "version_id": _id(6, 0),
            "status": "ready", "loaded_version_id": _id(6, 0), "settings": {}, "updated_at": _NOW,
        }  # fmt: skip


def _keys() -> Iterator[Row]:
    for n in range(KEYS):
        yield {
            **_owned(8, n, KEYS), "name": f"key-{n}", "prefix": f"{n:08d}", "digest": _digest(8, n),
            "scopes": ["jobs:read", "jobs:write"],
        }  # fmt: skip


def _workers() -> Iterator[Row]:
    for n in range(WORKERS):
        yield {
            "id": _id(9, n), "host": f"host-{n}", "pid": n + 1, "version": "1", "queues": ["short", "cpu"],
            "devices": {"gpus": []}, "slots": 1, "started_at": _NOW - timedelta(minutes=n), "heartbeat_at": _NOW,
        }  # fmt: skip


def _schedules() -> Iterator[Row]:
    job = {"method": "frskd", "datasets": {"train": "set-1"}}
    for n in range(SCHEDULES):
        yield {
            **_owned(10, n, SCHEDULES), "name": f"nightly-{n}", "cron": "0 3 * * *", "timezone": "Europe/Berlin",
            "job": job, "overlap": "skip", "misfire": "once", "status": "active", "refusals": 0,
            "next_run_at": _NOW + timedelta(days=1), "updated_at": _NOW,
        }  # fmt: skip


def _runs() -> Iterator[Row]:
    for n, run in itertools.product(range(SCHEDULES), range(RUNS)):
        at = _NOW - timedelta(days=RUNS - run)
        yield {
            "id": _id(11, n * RUNS + run), "schedule_id": _id(10, n), "planned_at": at, "created_at": at,
            "fired_by": "clock", "outcome": "submitted", "job_id": _id(3, (n * RUNS + run) % JOBS),
        }  # fmt: skip
