"""Prometheus metrics of an HTTP service. Labels are route templates, never addresses: their number is bounded."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.responses import Response

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def known_method(method: str) -> str:
    """The method of a request, as far as it is one that routes have."""
    return method if method in _METHODS else "other"


class HttpMetrics:
    """Counts and times of one application; its own registry, so that tests may build several."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self.requests = Counter(f"octavo_{service}_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            f"octavo_{service}_request_seconds",
            "Time to the first byte of the answer.",
            labels[:2],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(f"octavo_{service}_requests_in_flight", "Requests now.", registry=self.registry)

    def observe(self, method: str, route: str, status: int, first_byte_s: float) -> None:
        """Count one answered request."""
        method = known_method(method)
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(first_byte_s)

    def render(self) -> Response:
        """The text Prometheus scrapes."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
