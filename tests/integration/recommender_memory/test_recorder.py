"""What was recommended is written behind the answers; what cannot be is dropped, counted and said."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, func, make_url, select
from structlog.testing import capture_logs

from libs.database.engine import make_engine, session
from libs.database.tables import Recommendation
from services.recommender.explanations import repository
from services.recommender.explanations.recorder import Recorder
from services.recommender.memory_settings import MemorySettings
from tests.support.memory import memory_settings, record
from tests.support.waiting import until


def written(engine: Engine) -> int:
    with session(engine) as opened:
        return opened.scalar(select(func.count()).select_from(Recommendation)) or 0


def dropped(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("octavo_recommender_records_dropped_total", {"reason": reason}) or 0.0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def recorder(engine: Engine, settings: MemorySettings, registry: CollectorRegistry) -> Iterator[Recorder]:
    made = Recorder(engine, settings, registry)
    made.start()
    yield made
    made.stop()


def test_what_is_handed_over_is_written_and_once(recorder: Recorder, engine: Engine):
    records = [record(["a"]) for _ in range(1200)]
    for one in [*records, records[0]]:
        assert recorder.record_recommendation(one)
    assert recorder.flush(30)
    assert written(engine) == 1200


def test_stopping_writes_what_waits(engine: Engine, settings: MemorySettings, registry: CollectorRegistry):
    made = Recorder(engine, settings.model_copy(update={"record_every_s": 3600.0}), registry)
    made.start()
    made.record_recommendation(record(["a"]))
    made.stop()
    assert written(engine) == 1


def test_a_full_queue_drops_and_says_so(
    engine: Engine, postgres_url: str, valkey_url: str, registry: CollectorRegistry
):
    made = Recorder(engine, memory_settings(postgres_url, valkey_url, record_queue=2), registry)  # not started
    with capture_logs() as logs:
        assert [made.record_recommendation(record(["a"])) for _ in range(4)] == [True, True, False, False]
    assert dropped(registry, "full") == 2
    assert registry.get_sample_value("octavo_recommender_records_waiting") == 2
    assert [(line["reason"], line["log_level"]) for line in logs] == [("full", "error")]  # one line in ten seconds


def test_what_postgres_refuses_is_dropped_and_the_rest_goes_on(
    recorder: Recorder, engine: Engine, registry: CollectorRegistry
):
    for project in ({}, {"project_id": uuid4()}, {}):  # there is no such project
        recorder.record_recommendation(record(["a"], **project))
    assert recorder.flush(30)
    assert (dropped(registry, "refused"), written(engine)) == (1, 2)


def test_the_queue_is_bounded_in_bytes(engine: Engine, postgres_url: str, valkey_url: str, registry: CollectorRegistry):
    made = Recorder(engine, memory_settings(postgres_url, valkey_url, record_queue_bytes=30_000), registry)
    large = record([f"{n:0200d}" for n in range(50)])  # more than 10 kB, less than 15 kB
    assert [made.record_recommendation(large) for _ in range(3)] == [True, True, False]
    made.start()
    assert made.flush(30)
    assert made.record_recommendation(large)
    made.stop()
    assert dropped(registry, "full") == 1


def test_a_flush_waits_for_what_was_handed_over_before_it_and_for_no_more(
    recorder: Recorder, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """Whenever a batch is written the next recommendation waits already: the queue is never empty."""
    first, insert = record(["a"]), repository.insert
    more = iter(range(200))

    def insert_and_go_on(*arguments: Any) -> None:
        insert(*arguments)
        if next(more, None) is not None:
            recorder.record_recommendation(record(["b"]))

    monkeypatch.setattr(repository, "insert", insert_and_go_on)
    recorder.record_recommendation(first)
    assert recorder.flush(30)
    assert next(more, None) is not None, "the flush did not wait for what came after it"
    assert written(engine) >= 1


def test_an_error_nobody_thought_of_costs_its_batch_and_not_the_thread(
    recorder: Recorder, engine: Engine, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("not thought of")

    with monkeypatch.context() as patched:
        patched.setattr(repository, "insert", fail)
        recorder.record_recommendation(record(["a"]))
        assert recorder.flush(30)
    recorder.record_recommendation(record(["b"]))
    assert recorder.flush(30)
    assert (dropped(registry, "refused"), written(engine)) == (1, 1)


@contextmanager
def database_that_lets_nobody_in(url: str) -> Iterator[None]:
    """The server is there and turns away everybody, those who were connected included."""
    parsed = make_url(url)
    admin = parsed.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        allow = f"ALTER DATABASE {parsed.database} ALLOW_CONNECTIONS "
        connection.execute(f"{allow} false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [parsed.database]
        )
        try:
            yield
        finally:
            connection.execute(f"{allow} true".encode())


def test_no_answer_waits_for_postgres_and_what_it_missed_is_written_when_it_is_back(
    recorder: Recorder, engine: Engine, postgres_url: str, registry: CollectorRegistry
):
    with database_that_lets_nobody_in(postgres_url):
        started = perf_counter()
        for _ in range(100):
            recorder.record_recommendation(record(["a"]))
        assert perf_counter() - started < 1.0
        assert not recorder.flush(0.5)
    assert recorder.flush(60)
    assert written(engine) == 100
    assert dropped(registry, "refused") == 0


def test_a_process_that_stops_while_postgres_is_away_says_what_is_lost(
    engine: Engine, postgres_url: str, valkey_url: str, registry: CollectorRegistry
):
    settings = memory_settings(postgres_url, valkey_url, record_stop_s=0.2, record_every_s=0.01)
    away = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    made = Recorder(away, settings, registry)
    made.start()
    for _ in range(3):
        made.record_recommendation(record(["a"]))
    with capture_logs() as logs:
        made.stop()
    until(lambda: dropped(registry, "stopped") == 3, "all are counted as lost", 30)
    assert {line["reason"] for line in logs} == {"stopped"}
    away.dispose()
