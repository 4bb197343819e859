"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP. Imported by a process that traces, and by no other."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from threading import Thread

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.spans import Attribute, Span, SpanKind, Tracer

_KINDS: dict[SpanKind, trace.SpanKind] = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}
_HEADER = "traceparent"
_propagator = TraceContextTextMapPropagator()


class OtlpSpan(Span):
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._dropped = False

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def fail(self, message: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR, message)

    def drop(self) -> None:
        self._dropped = True

    @property
    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        return carrier[_HEADER]

    def end(self, at_ns: int | None = None) -> None:
        if not self._dropped:  # what never ends is never sent
            self._span.end(at_ns)


class OtlpTracer(Tracer):
    """Endpoint, headers, sampler and resource are read from `OTEL_*` by the SDK."""

    def __init__(self, service: str) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"octavo-{service}"}
        resource = Resource.create({"service.version": version("octavo"), **named})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("octavo")

    def begin(
        self,
        name: str,
        kind: SpanKind,
        parent: str | None,
        attributes: Mapping[str, Attribute],
        at_ns: int | None = None,
    ) -> OtlpSpan:
        above = _propagator.extract({_HEADER: parent} if parent else {})
        return OtlpSpan(self._tracer.start_span(name, above, _KINDS[kind], attributes, start_time=at_ns))

    def close(self, within_s: float) -> None:
        """In a thread that is left behind when nobody takes the spans: a process that stops waits no longer."""
        closing = Thread(target=self._provider.shutdown, name="octavo-traces", daemon=True)
        closing.start()
        closing.join(within_s)
