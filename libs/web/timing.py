"""`Server-Timing`: where the time of one request went, in milliseconds, readable in a browser's network panel."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

_spans: ContextVar[dict[str, float] | None] = ContextVar("server_timing", default=None)


def begin_timing() -> dict[str, float]:
    """Start collecting the spans of one request; the dict is shared with the threads that serve it."""
    spans: dict[str, float] = {}
    _spans.set(spans)
    return spans


@contextmanager
def span(name: str) -> Iterator[None]:
    """Add the time of the block to the span `name` (an HTTP token); outside of a request, nothing."""
    started = perf_counter()
    try:
        yield
    finally:
        record(name, perf_counter() - started)


def record(name: str, seconds: float) -> None:
    """Add a time measured elsewhere to the span `name`."""
    if (spans := _spans.get()) is not None:
        spans[name] = spans.get(name, 0.0) + seconds


def header_value(spans: dict[str, float], total_s: float) -> str:
    """The header for these spans (seconds)."""
    parts = [f"{name};dur={seconds * 1e3:.2f}" for name, seconds in spans.items()]
    return ", ".join([*parts, f"total;dur={total_s * 1e3:.2f}"])
