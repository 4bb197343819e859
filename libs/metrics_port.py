"""Metrics of a process that has no HTTP of its own, at a port of their own; threads answer, the work goes on beside."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.process_collector import ProcessCollector

from libs.jobs.counts import show_counts
from libs.settings import PlatformSettings, WrongSettings


def process_registry() -> CollectorRegistry:
    """A registry with the process's own figures and what it did with jobs."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    show_counts(registry)
    return registry


@contextmanager
def metrics_port(settings: PlatformSettings, registry: CollectorRegistry) -> Iterator[None]:
    """Answer scrapes while the block lasts, if the settings name a port.

    Raises:
        WrongSettings: the port cannot be had.
    """
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise WrongSettings(f"OCTAVO_METRICS_PORT: {place} cannot be had: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
