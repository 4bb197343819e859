"""What a relay counts and a reporter passes on, when the rest of what they do fails or is too much."""

import time
from contextlib import AbstractContextManager, nullcontext
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError

from libs.database.engine import make_engine
from libs.database.tables import Job
from libs.jobs.reaper import Reaped
from libs.settings import platform_settings
from services.worker import relay, reporter
from services.worker.celery_app import make_app
from services.worker.messages import MetricReported, PhaseEnded, ProcessLogged, ProgressReported
from services.worker.metrics import RelayMetrics
from services.worker.settings import WorkerSettings


def test_leases_that_expired_are_counted_though_what_comes_after_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise OperationalError("", None, Exception("away"))

    def opened(_: object) -> AbstractContextManager[None]:
        return nullcontext()

    registry = CollectorRegistry()
    monkeypatch.setattr(relay, "transaction", opened)
    monkeypatch.setattr(relay.reaper, "reap", lambda _: Reaped(lost=2, retried=0, settled=0, cancelled=0))
    monkeypatch.setattr(relay, "close_abandoned_versions", away)
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    one = relay.Relay(engine, make_app("memory://"), platform_settings(), RelayMetrics(registry))
    with pytest.raises(OperationalError):
        one._reap_when_due()
    one.stop()
    one.run()  # it only closes what it has opened
    assert registry.get_sample_value("octavo_leases_expired_total") == 2


def test_many_lines_of_a_child_leave_its_traces_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(reporter, "_MOST_TOLD", 2)
    monkeypatch.setattr(reporter, "write_for_child", lambda message: told.append(message.event))
    monkeypatch.setattr(reporter, "record", lambda name, *_: told.append(name))
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    one = reporter.AttemptReporter(engine, Job(id=uuid4(), epoch=1, method="frskd"), WorkerSettings(), lambda _: None)
    for number in range(4):
        one.on_message(ProcessLogged(event=f"line {number}", pid=1).model_dump_json().encode())
    now = time.time_ns()
    for number in range(4):
        one.on_message(PhaseEnded(name=f"part {number}", began_ns=now, ended_ns=now).model_dump_json().encode())
    assert told == ["line 0", "line 1", "part 0", "part 1"]


@pytest.mark.parametrize(("method", "shown"), [("frskd", 0.5), ("compare", 0.975)])
def test_progress_goes_on_from_where_what_a_job_gathers_has_brought_it(method: str, shown: float) -> None:
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    one = reporter.AttemptReporter(engine, Job(id=uuid4(), epoch=1, method=method), WorkerSettings(), lambda _: None)
    one.on_message(ProgressReported(fraction=0.5).model_dump_json().encode())
    one._summarise(last=True)
    assert [data["fraction"] for kind, data in one._entries if kind == "progress"] == [pytest.approx(shown)]


def test_of_metrics_that_wait_for_long_fewer_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_MOST_HELD", 8)
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    one = reporter.AttemptReporter(engine, Job(id=uuid4(), epoch=1, method="frskd"), WorkerSettings(), lambda _: None)
    for step in range(5):
        for name in ("loss", "rate"):
            one.on_message(MetricReported(name=name, value=0.0, step=step).model_dump_json().encode())
    with pytest.raises(OperationalError):
        one._flush(last=False)
    assert [(point.name, point.step) for point in one._metrics] == [
        ("loss", 1), ("rate", 1), ("loss", 3), ("rate", 3), ("loss", 4), ("rate", 4),
    ]  # fmt: skip
    assert one._entries[0][1]["message"] == "4 values of metrics were dropped: Postgres is away"
