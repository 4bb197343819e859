"""Traces: spans of one job, joined from the request that submitted it to its end. Off unless somebody asks for them.

They are asked for by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and the like), and need the packages
of the extra `traces`, which are imported only then. The span at hand is part of the origin of the work at hand
(`libs.origin`): it is stored with a job, and whoever works on the job goes on from there.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from libs.origin import current_origin, set_origin
from libs.settings import WrongSettings
from libs.spans import Attribute, Span, SpanKind, Tracer

_ADDRESS = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_SAMPLERS = (
    "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "always_on", "always_off",
    "traceidratio",
)  # fmt: skip
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class _Untraced:
    """The span of a process that does not trace."""

    traceparent = ""

    def rename(self, name: str) -> None:
        pass

    def set(self, name: str, value: Attribute) -> None:
        pass

    def fail(self, message: str) -> None:
        pass

    def drop(self) -> None:
        pass

    def end(self, at_ns: int | None = None) -> None:
        pass


_UNTRACED = _Untraced()
_tracer: Tracer | None = None
_CLOSE_WITHIN_S = 5.0


@contextmanager
def tracing(service: str) -> Iterator[None]:
    """Trace while the block lasts, where the environment asks for it.

    Raises:
        WrongSettings: it asks for what this process cannot do.
    """
    global _tracer
    if not _is_asked_for(os.environ):
        yield
        return
    try:
        from libs.tracing_otlp import OtlpTracer  # the packages of the extra `traces`
    except ImportError as error:
        message = f"it asks for traces, which need the extra `traces` ({error})"
        raise WrongSettings(f"OTEL_EXPORTER_OTLP_ENDPOINT: {message}") from None
    _tracer = OtlpTracer(service)
    try:
        yield
    finally:
        _tracer.close(_CLOSE_WITHIN_S)
        _tracer = None


def _is_asked_for(environment: Mapping[str, str]) -> bool:
    """By the names and values of OpenTelemetry's specification; an empty value counts as none."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter not in ("otlp", "none"):
        raise WrongSettings(f"OTEL_TRACES_EXPORTER: {exporter[:40]!r} is not understood: otlp or none")
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if exporter == "none" or not any(environment.get(name) for name in names):
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name) not in (None, "", "http/protobuf"):
            raise WrongSettings(f"{name}: {environment[name][:40]!r} is not spoken here: http/protobuf")
    for name in names:
        if (address := environment.get(name)) and not _ADDRESS.match(address):  # not shown: it may hold a password
            raise WrongSettings(f"{name}: it is no address: http://HOST:PORT, or https")
    _check_sampler_and_times(environment)
    return True


def _check_sampler_and_times(environment: Mapping[str, str]) -> None:
    """The SDK itself warns of these and goes on with its defaults: with every trace, say, in place of a hundredth."""
    sampler = environment.get("OTEL_TRACES_SAMPLER") or _SAMPLERS[0]
    if sampler.lower() not in _SAMPLERS:
        raise WrongSettings(f"OTEL_TRACES_SAMPLER: {sampler[:40]!r} is not understood: {', '.join(_SAMPLERS)}")
    most = {"OTEL_EXPORTER_OTLP_TIMEOUT": float("inf"), "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": float("inf")}
    if sampler.lower().endswith("traceidratio"):
        most["OTEL_TRACES_SAMPLER_ARG"] = 1.0
    for name, greatest in most.items():
        value = environment.get(name) or "0"
        try:
            is_met = 0 <= float(value) <= greatest
        except ValueError:
            is_met = False
        if not is_met:
            wanted = "from 0 to 1" if greatest == 1 else "of 0 or more"
            raise WrongSettings(f"{name}: {value[:40]!r} is not understood: a number {wanted}")


def is_traced() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def valid_traceparent(offered: str | None) -> str | None:
    """`offered` if it is a span of W3C Trace Context, version 00; else None."""
    return offered if offered and _TRACEPARENT.fullmatch(offered) else None


@contextmanager
def span(
    name: str, kind: SpanKind = "internal", *, parent: str | None = None, **attributes: Attribute
) -> Iterator[Span]:
    """A span round the block, below `parent`, else the one at hand; work within the block belongs to it.

    Args:
        attributes: a `_` in a name stands for a dot.
    """
    if _tracer is None:
        yield _UNTRACED
        return
    before = current_origin()
    made = _tracer.begin(name, kind, parent or before.traceparent, _dotted(attributes))
    set_origin(replace(before, traceparent=made.traceparent))
    try:
        yield made
    except BaseException as error:
        made.fail(type(error).__name__)
        raise
    finally:
        made.end()
        set_origin(before)


def record(name: str, began_ns: int, ended_ns: int, **attributes: Attribute) -> None:
    """A span that is over already, below the one at hand; times since 1970."""
    if _tracer is not None:
        parent = current_origin().traceparent
        _tracer.begin(name, "internal", parent, _dotted(attributes), began_ns).end(ended_ns)


def _dotted(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {name.replace("_", "."): value for name, value in attributes.items()}
