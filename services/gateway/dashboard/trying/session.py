"""A session of picks: what each recommender says comes next, and what only one of two says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx2

from services.gateway.context import Gateway
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.trying.pictures import Bars, bars_of
from services.gateway.inference.proxy import ask, read_answer

MOST_PICKS = 200
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Said:
    """What one recommender says of the picks, or its problem.

    Attributes:
        ms: there and back; `compute_ms`: of it in the model, where the service tells.
        bars: what the model tells about its reading of the picks.
    """

    deployment: str
    answer: dict[str, Any] | None
    problem: str
    ms: float
    compute_ms: float | None
    bars: list[Bars] = field(default_factory=list)

    @property
    def items(self) -> list[str]:
        """Ids of what it recommends, best first."""
        return [] if self.answer is None else [item["item_id"] for item in self.answer["items"]]


@dataclass(frozen=True, slots=True)
class PickSession:
    """The picks, and what everybody asked says of them."""

    items: Sequence[str]
    said: list[Said]

    @property
    def compares(self) -> bool:
        """Whether there are two answers to set against each other."""
        return len(self.said) == 2 and all(one.answer is not None for one in self.said)

    @property
    def common(self) -> set[str]:
        """Items that everybody recommends."""
        return set.intersection(*(set(one.items) for one in self.said))


def picks(form: FormData) -> list[str]:
    """The history after this click: an item more, one less, or none."""
    if "clear" in form:
        return []
    picked = [item for item in form.all("item") if item]
    dropped = form.get("drop")
    if dropped.isdecimal() and int(dropped) < len(picked):
        del picked[int(dropped)]
    added = form.get("add") or form.get("typed")
    return [*picked, *([added] if added else [])][-MOST_PICKS:]


async def asked_of(gateway: Gateway, key: str, deployments: Sequence[str], items: Sequence[str]) -> PickSession:
    """Ask each for what comes next, one after the other, so that neither's latency holds the other's.

    Raises:
        UnavailableError, UpstreamTimeoutError, BadGatewayError: the recommender does not answer.
    """
    return PickSession(items, [await _ask(gateway, key, name, items) for name in dict.fromkeys(deployments)])


async def _ask(gateway: Gateway, key: str, deployment: str, items: Sequence[str]) -> Said:
    body = {"model": deployment, "items": list(items), "k": _SHOWN, "explain": "full" if items else "none"}
    began = perf_counter()
    answer = await ask(gateway.recommender, "/v1/recommendations", key, body)
    ms = (perf_counter() - began) * 1e3
    found, problem = read_answer(gateway.recommender, answer)
    explanation = (found or {}).get("explanation")
    return Said(deployment, found, problem, ms, _compute_ms(answer), bars_of(explanation) if explanation else [])


def _compute_ms(answer: httpx2.Response) -> float | None:
    found = re.search(r"\bcompute;dur=([\d.]+)", answer.headers.get("server-timing", ""))
    return None if found is None else float(found[1])
