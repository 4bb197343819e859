"""What a deployment was asked since its service started: read from the service's own Prometheus metrics.

A reading is kept for a moment, so that many open pages ask the service once.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from uuid import UUID

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from services.gateway.context import Gateway
from services.gateway.inference.proxy import Upstream

_KEPT_S = 2.0
_ANSWER_WITHIN_S = 2.0
_MOST_BYTES = 16 << 20
_PREFIX = "octavo_deployment_"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram: up to which bound, how many, and the share of the highest bar."""

    upto: str
    count: int
    share: float


@dataclass(slots=True)
class Statistics:
    """Figures of one deployment.

    Attributes:
        outcomes: requests by how they ended.
        seconds, rows: cumulative counts by upper bound, as Prometheus has them.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: dict[float, int] = field(default_factory=dict)
    rows: dict[float, int] = field(default_factory=dict)
    seconds_sum: float = 0.0

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Requests that got no answer through no fault of their own."""
        return self.outcomes.get("error", 0) + self.outcomes.get("overloaded", 0)

    @property
    def mean_s(self) -> float | None:
        """Mean time of a request."""
        count = max(self.seconds.values(), default=0)
        return self.seconds_sum / count if count else None

    @property
    def latency(self) -> list[Bar]:
        """Times of requests."""
        return _bars(self.seconds, lambda bound: f"{bound * 1e3:g} ms")

    @property
    def batches(self) -> list[Bar]:
        """Sizes of batches."""
        return _bars(self.rows, lambda bound: f"{bound:g}")


def _bars(cumulative: dict[float, int], words: Callable[[float], str]) -> list[Bar]:
    """From one bar before the first that counts something to one after the last."""
    bounds = sorted(cumulative)
    below = [0, *(cumulative[bound] for bound in bounds)]
    counts = [after - before for before, after in pairwise(below)]
    highest = max(counts, default=0) or 1
    last = len(bounds) - 1
    bars = [
        Bar("more" if place == last else words(bound), count, count / highest)
        for place, (bound, count) in enumerate(zip(bounds, counts, strict=True))
    ]
    filled = [place for place, count in enumerate(counts) if count]
    return bars[max(filled[0] - 1, 0) : filled[-1] + 2] if filled else bars


ByDeployment = dict[tuple[str, str], Statistics]


class Readings:
    """The latest reading of each inference service."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, ByDeployment | None]] = {}

    async def of(self, gateway: Gateway, task: str | None, project_id: UUID, name: str) -> Statistics | None:
        """The figures of a deployment; None when its service does not answer."""
        upstream = gateway.recommender if task == "next-item" else gateway.model_server
        read_at, found = self._kept.get(upstream.name, (-_KEPT_S, None))
        if monotonic() - read_at >= _KEPT_S:
            found = await _read(upstream)
            self._kept[upstream.name] = (monotonic(), found)
        return None if found is None else found.get((str(project_id), name), Statistics())


async def _read(upstream: Upstream) -> ByDeployment | None:
    try:
        answer = await upstream.client.get("/metrics", timeout=_ANSWER_WITHIN_S)
    except httpx2.TransportError:
        return None
    if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
        return None
    return parsed(answer.text)


def parsed(text: str) -> ByDeployment:
    """Figures by project and deployment, of the text that Prometheus scrapes."""
    found: ByDeployment = defaultdict(Statistics)
    own = "\n".join(line for line in text.splitlines() if line.removeprefix("# TYPE ").startswith(_PREFIX))
    for family in text_string_to_metric_families(own + "\n"):
        for sample in family.samples:
            labels = sample.labels
            if "deployment" not in labels:
                continue
            one = found[labels["project"], labels["deployment"]]
            match sample.name.removeprefix(_PREFIX):
                case "requests_total":
                    one.outcomes[labels["outcome"]] = int(sample.value)
                case "seconds_bucket":
                    one.seconds[float(labels["le"])] = int(sample.value)
                case "seconds_sum":
                    one.seconds_sum = sample.value
                case "batch_rows_bucket":
                    one.rows[float(labels["le"])] = int(sample.value)
    return dict(found)
