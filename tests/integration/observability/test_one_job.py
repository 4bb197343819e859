"""One job followed through gateway, relay, worker and child: by its request id, by its trace, by what is counted."""

import json
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.settings import PlatformSettings
from libs.web.auth import Scope, make_key
from services.gateway.settings import GatewaySettings
from services.local.process import free_port
from tests.integration.gateway.conftest import running_gateway
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.platform import Platform, add_digits
from tests.support.promtool import promtool
from tests.support.waiting import until

REQUEST_ID = "order-4711"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STEPS = 3


def test_one_job_is_followed_through_every_process(octavo: Platform, engine: Engine):
    add_digits(octavo)
    ports = {"relay": free_port(), "worker": free_port()}
    with otlp_receiver() as spans:
        at_the_end = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}  # spans are sent by a process that stops, not by the clock
        patient = {"OCTAVO_RING_AGAIN_S": "600", "OCTAVO_LEASE_S": "60"}  # on a busy machine too, all happens once
        octavo.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, **at_the_end, **patient}
        octavo.allow(STEPS)
        url = SecretStr(engine.url.render_as_string(hide_password=False))
        settings = GatewaySettings(platform=PlatformSettings(database_url=url, home=octavo.home))
        with running_gateway(settings, OTEL_EXPORTER_OTLP_ENDPOINT=spans.url, **at_the_end) as gateway:
            job = submit(engine, gateway)
            octavo.start("relay", "services.worker.relay", OCTAVO_METRICS_PORT=str(ports["relay"]))
            octavo.start_scripted_worker(OCTAVO_METRICS_PORT=str(ports["worker"]))
            octavo.wait_for(job["id"], "succeeded")
            until(lambda: "attempt_ended" in octavo.log("worker"), "the worker is done with it")
            shown = {name: scraped(f"http://127.0.0.1:{port}/metrics") for name, port in ports.items()}
            shown["gateway"] = scraped(f"{gateway}/metrics")
            assert octavo.terminate("worker") == 0
            assert octavo.terminate("relay") == 0
    assert job["request_id"] == REQUEST_ID
    check_logs(octavo, job["id"])
    check_traces(spans, job["id"])
    check_counts(shown, job["id"])


def submit(engine: Engine, gateway: str) -> dict[str, Any]:
    new = make_key()
    with transaction(engine) as session:
        session.add(
            ApiKey(
                project_id=DEFAULT_PROJECT_ID, name="test", prefix=new.prefix, digest=new.digest, scopes=[Scope.ADMIN]
            )
        )
    headers = {"Authorization": f"Bearer {new.text}", "X-Request-ID": REQUEST_ID, "traceparent": PARENT}
    spec = {"method": "supervised", "datasets": {"train": "digits"}, "config": {"max_steps": STEPS}}
    answer = httpx2.post(f"{gateway}/v1/jobs", json=spec, headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.json()


def scraped(url: str) -> str:
    answer = httpx2.get(url, timeout=30)
    assert answer.status_code == 200
    return answer.text


def check_logs(octavo: Platform, job_id: str) -> None:
    """Each process's lines about the job name the request and the job."""
    written = [line for name in ("gateway", "relay", "worker") for line in octavo.log(name).splitlines()]
    lines = [json.loads(line) for line in written if line.startswith("{")]  # Celery says good-bye on stderr
    of_job = [(line["service"], line["event"]) for line in lines if line.get("job_id") == job_id]
    assert of_job == [
        ("gateway", "request"),
        ("relay", "published"),
        ("worker", "attempt_started"),
        ("child", "child_started"),
        ("child", "child_finished"),
        ("worker", "attempt_ended"),
    ]
    of_request = [(line["service"], line["event"]) for line in lines if line.get("request_id") == REQUEST_ID]
    assert of_request == of_job
    trace_id = PARENT.split("-")[1]
    assert {line["trace_id"] for line in lines if line.get("job_id") == job_id} == {trace_id}


def check_traces(spans: Receiver, job_id: str) -> None:
    """All of it is one trace, that of the caller, and each span lies within the one it belongs to."""
    names = {
        "POST /v1/jobs": ("octavo-gateway", ""),
        "publish": ("octavo-relay", "POST /v1/jobs"),
        "attempt supervised": ("octavo-worker", "POST /v1/jobs"),
        "prepare": ("octavo-worker", "attempt supervised"),
        "child": ("octavo-worker", "attempt supervised"),
        "load": ("octavo-worker", "child"),
        "run": ("octavo-worker", "child"),
        "step": ("octavo-worker", "child"),
        "record": ("octavo-worker", "attempt supervised"),
    }
    _, trace_id, caller, _ = PARENT.split("-")
    of_trace = [span for span in spans if span.trace_id == trace_id]
    assert {span.name for span in of_trace} == {*names, "checkpoint"}
    assert len([span for span in of_trace if span.name == "checkpoint"]) == STEPS
    for name, (service, above) in names.items():
        found = spans.one(name)
        assert found.service == service
        assert found.parent_id == (spans.one(above).span_id if above else caller), name
        assert found.began_ns <= found.ended_ns
    attempt = spans.one("attempt supervised")
    for name in ("prepare", "child", "record", "load", "run", "step"):
        inner = spans.one(name)
        assert attempt.began_ns <= inner.began_ns <= inner.ended_ns <= attempt.ended_ns, name
    assert attempt.attributes["octavo.attempt.reason"] == "ok"
    for name in ("POST /v1/jobs", "publish", "attempt supervised"):
        assert spans.one(name).attributes["octavo.job.id"] == job_id


def check_counts(shown: dict[str, str], job_id: str) -> None:
    """Each event is counted by the one process that it happened in, and nothing is counted by job or request."""
    counted = {name: samples(text) for name, text in shown.items()}
    for where, name, labels in (
        ("gateway", "octavo_jobs_submitted_total", {"method": "supervised"}),
        ("relay", "octavo_relay_published_total", {"queue": "cpu"}),
        ("worker", "octavo_job_attempts_total", {"method": "supervised", "reason": "ok"}),
        ("worker", "octavo_jobs_ended_total", {"method": "supervised", "status": "succeeded", "reason": "ok"}),
        ("worker", "octavo_job_queue_wait_seconds_count", {"queue": "cpu"}),
        ("worker", "octavo_job_attempt_seconds_count", {"method": "supervised"}),
    ):
        key = (name, *sorted(labels.items()))
        assert {one for one in counted if counted[one].get(key)} == {where}, name
        assert counted[where][key] == 1
    assert counted["relay"]["octavo_postgres_up",] == 1
    assert counted["relay"]["octavo_workers", ("queue", "cpu")] == 1
    assert counted["relay"]["octavo_jobs", ("queue", "cpu"), ("status", "queued")] == 0
    for text in shown.values():
        promtool("check", "metrics", said=text)
        assert job_id not in text
        assert REQUEST_ID not in text


def samples(text: str) -> dict[tuple[Any, ...], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}
