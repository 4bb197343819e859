"""Examples of what the recommender is asked and answers, by the name of the route that passes it on."""

from typing import Any

_ID = "3f0c1e6d-0d6f-4a7c-9d1f-8f6f0a4b2c1d"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_AT = "2026-01-31T12:00:00Z"
_ASKED = {"model": "films", "items": ["f17", "f4"], "k": 2}
_IDENTITY = {"arm": "films", "model": "films-hcrnn", "version": 3, "digest": _DIGEST}
_ITEMS = [{"item_id": "f9", "score": 7.31, "rank": 1}, {"item_id": "f2", "score": 6.9, "rank": 2}]
_ANSWER = {"request_id": _ID, **_IDENTITY, "strategy": "model", "unknown_items": 0, "items": _ITEMS}
_HISTORY = {
    "items": [{"item_id": "f17", "type": "view", "timestamp": _AT, "user_id": "u42", "session_id": None}],
    "next_cursor": None,
}


def _variant(arm: str, requests: int, clicked: int) -> dict[str, Any]:
    rates = {"value": clicked / requests, "low": 0.1, "high": 0.2, "count": clicked, "of": requests}
    names = {"deployment": "films", "arm": arm, "stands_in_for": None, "variant": "", "model": "films-hcrnn"}
    counts = {"ctr": rates, "conversion_rate": rates, "hit_rate": rates, "items_shown": 200}
    return {**names, "requests": requests, **counts}


REQUESTS: dict[str, Any] = {
    "recommend": {
        **_ASKED,
        "exclude_items": ["f5"],
        "filters": {"genres": {"has": ["comedy"]}, "price": {"<=": 10}},
        "explain": "basic",
    },
    "recommend_batch": {"requests": [_ASKED, {"model": "films", "user_id": "u42"}]},
    "similar": {"model": "films", "item_id": "f17", "k": 2},
    "score": {"model": "films", "items": ["f17", "f4"], "candidates": ["f2", "f9"]},
    "post_events": [{"event_id": "e1", "user_id": "u42", "item_id": "f17", "type": "view", "timestamp": _AT}],
    "post_feedback": {"request_id": _ID, "impressions": ["f9", "f2"], "clicks": ["f9"]},
}
ANSWERS: dict[str, Any] = {
    "recommend": _ANSWER,
    "recommend_batch": {"answers": [{"result": _ANSWER, "problem": None}]},
    "similar": {**_IDENTITY, "strategy": "similar", "by": "vectors", "items": _ITEMS},
    "score": {**_IDENTITY, "strategy": "model", "unknown_items": 0, "unknown_candidates": [], "items": _ITEMS},
    "explain_request": {
        **_ANSWER,
        "created_at": _AT,
        "deployment": "films",
        "stands_in_for": None,
        "variant": "",
        "user_id": None,
        "session_id": None,
        "history": ["f17", "f4"],
        "items": [{**item, "reasons": []} for item in _ITEMS],
    },
    "post_events": {"accepted": 1, "duplicates": 0},
    "post_feedback": {"recorded": 3, "duplicates": 0},
    "feedback_summary": {
        "model": None,
        "deployment": "films",
        "days": 30,
        "k": 10,
        "versions": [],
        "variants": [_variant("films", 900, 112), _variant("films-new", 396, 61)],
    },
    "user_history": _HISTORY,
    "session_history": _HISTORY,
}
