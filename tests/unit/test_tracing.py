"""Traces are off, cost nothing and import nothing, unless OpenTelemetry's variables ask for them."""

import subprocess
import sys

import pytest

from libs.origin import Origin, current_origin
from libs.settings import WrongSettings
from libs.tracing import record, span, tracing, valid_traceparent

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_no_process_imports_the_sdk_unless_it_traces() -> None:
    code = """
import sys
import services.gateway.__main__, services.worker.__main__, services.worker.relay, services.worker.child
import services.model_server.__main__, services.recommender.__main__
from libs.tracing import tracing
with tracing("test"):
    ours = ("libs.tracing_otlp", "opentelemetry.exporter", "opentelemetry.sdk.trace")
    print([name for name in sys.modules if name.startswith(ours)])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_off_a_span_changes_nothing() -> None:
    with tracing("test"), span("work", octavo_job_id="j") as made:
        record("part", 1, 2)
        assert made.traceparent == ""
        assert current_origin() == Origin()


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_they_stay_off_where_opentelemetry_says_so(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with tracing("test"), span("work") as made:
        assert made.traceparent == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "nonsense"),
        ("OTEL_TRACES_SAMPLER_ARG", "7"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"),
    ],
)
def test_what_cannot_be_met_is_said_in_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match=f"{name}: '{value}'"), tracing("test"):
        pass


def test_an_endpoint_that_is_no_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "me:secret@collector:4318")
    with (
        pytest.raises(WrongSettings, match="ENDPOINT: it is no address") as refused,
        tracing("test"),
    ):
        pass
    assert "secret" not in str(refused.value)


def test_without_its_packages_a_process_that_is_to_trace_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "libs.tracing_otlp", raising=False)
    with pytest.raises(WrongSettings, match="need the extra `traces`"), tracing("test"):
        pass


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "",
        TRACEPARENT[:-1],
        TRACEPARENT + "-more",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACEPARENT.replace("00f067aa0ba902b7", "0" * 16),
        "ff" + TRACEPARENT[2:],
    ],
)
def test_what_a_caller_sends_as_its_trace_is_taken_only_when_it_is_one(offered: str | None) -> None:
    assert valid_traceparent(TRACEPARENT) == TRACEPARENT
    assert valid_traceparent(offered) is None
