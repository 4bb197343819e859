"""Recommendations: the next items for users, sessions, or a history at hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from libs.client.records import Record
from libs.client.transport import Transport

Filters = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RecommendedItem(Record):
    """One item of an answer."""

    item_id: str
    score: float
    rank: int
    reasons: list[dict[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class Recommendation(Record):
    """The answer to a request: `strategy` says whether the model answered or a fallback, `arm` which deployment.

    `by` says what items like one were found by: "vectors" of the model or "features"; None of other answers.
    """

    request_id: str | None
    arm: str
    model: str
    version: int
    digest: str
    strategy: str
    unknown_items: int | None
    by: str | None

    @property
    def items(self) -> list[RecommendedItem]:
        """Best first."""
        return [RecommendedItem.of(one) for one in self.raw["items"]]


class Recommendations:
    """`/v1/recommendations`, `/v1/similar`, `/v1/score`, `/v1/events`, `/v1/feedback`, histories."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def recommend(
        self,
        deployment: str,
        items: Sequence[str] | None = None,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        k: int = 10,
        filters: Filters | None = None,
        explain: str = "none",
        **options: Any,
    ) -> Recommendation:
        """The best next items after `items` (oldest first), or for a user or session whose events Octavo has.

        Args:
            filters: conditions on item features, `{"genres": {"has": ["comedy"]}, "price": {"<=": 10}}`.
            explain: "none", "basic" (reasons of each item) or "full".
            options: further fields of the request: events (in place of `items`), append (what has just happened in the
                session, stored first), exclude_seen, exclude_items, diversity, fallback ("similar", the default,
                "popular" or "error": what answers when no item of the history had events in training), assign_by.

        Raises:
            NotFoundError: nothing that recommends is deployed under this name.
            InvalidRequestError: a field is wrong.
        """
        history = {"items": list(items) if items is not None else None, "user_id": user_id, "session_id": session_id}
        body = {**_given({**history, "filters": filters}), "k": k, "explain": explain, **options}
        return self._ask("/v1/recommendations", deployment, body)

    def similar(
        self,
        deployment: str,
        item_id: str,
        *,
        k: int = 10,
        filters: Filters | None = None,
        assign_by: str | None = None,
    ) -> Recommendation:
        """Items like one; where deployments share requests, by the one that answers for `assign_by`."""
        given = _given({"filters": filters, "assign_by": assign_by})
        return self._ask("/v1/similar", deployment, {"item_id": item_id, "k": k, **given})

    def score(
        self, deployment: str, items: Sequence[str], candidates: Sequence[str], *, assign_by: str | None = None
    ) -> Recommendation:
        """Candidates in the order in which they should come after `items`; `assign_by` as of `similar`."""
        given = _given({"assign_by": assign_by})
        return self._ask("/v1/score", deployment, {"items": list(items), "candidates": list(candidates), **given})

    def tell(self, events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Have what users did kept: `item_id` and `user_id`, `session_id` or both; `timestamp`, `type`, `event_id`.

        An event with an `event_id` counts once, however often it is told.

        Returns:
            How many were `accepted`, and how many were `duplicates`.

        Raises:
            InvalidRequestError: one is wrong; none is kept.
        """
        kept: dict[str, int] = self._http.json("POST", "/v1/events", json=list(events))
        return kept

    def history(self, *, user_id: str | None = None, session_id: str | None = None) -> Iterator[dict[str, Any]]:
        """The events of a user or of a session, newest first; none of one that was never seen, or was erased."""
        yield from self._http.pages(_address(user_id, session_id))

    def erase(self, *, user_id: str | None = None, session_id: str | None = None) -> None:
        """Delete all that is stored of a user or of a session, for good; again changes nothing."""
        self._http.json("DELETE", _address(user_id, session_id))

    def feedback(
        self,
        request_id: str,
        *,
        impressions: Sequence[str] = (),
        clicks: Sequence[str] = (),
        conversions: Sequence[str] = (),
    ) -> dict[str, int]:
        """Tell what became of the items of an answer; sent again, nothing is counted twice.

        Returns:
            How many were `recorded`, and how many were `duplicates`.

        Raises:
            NotFoundError: nothing is written down of such an answer.
            InvalidRequestError: an item was not in it; nothing is kept.
        """
        told = {"impressions": list(impressions), "clicks": list(clicks), "conversions": list(conversions)}
        taken: dict[str, int] = self._http.json("POST", "/v1/feedback", json={"request_id": request_id, **told})
        return taken

    def explanation(self, request_id: str) -> dict[str, Any]:
        """What was recommended in answer to an earlier request, by which version, and why.

        Raises:
            NotFoundError: nothing is written down of it.
        """
        found: dict[str, Any] = self._http.json("GET", f"/v1/recommendations/{quote(request_id, safe='')}/explanation")
        return found

    def summary(self, *, model: str | None = None, deployment: str | None = None, days: int = 30, k: int = 10) -> Any:
        """How the answers of a model, or those that a deployment was asked for, were taken: `versions`, `variants`.

        Raises:
            NotFoundError: there is no such model or deployment.
        """
        query = _given({"model": model, "deployment": deployment})
        return self._http.json("GET", "/v1/feedback/summary", params={**query, "days": days, "k": k})

    def _ask(self, path: str, deployment: str, body: dict[str, Any]) -> Recommendation:
        return Recommendation.of(self._http.json("POST", path, json={"model": deployment, **body}))


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _address(user_id: str | None, session_id: str | None) -> str:
    """Where the history of one of the two is."""
    if (user_id is None) == (session_id is None):
        raise ValueError("give user_id or session_id")
    kind, name = ("users", user_id) if user_id is not None else ("sessions", session_id)
    return f"/v1/{kind}/{quote(str(name), safe='')}/history"
