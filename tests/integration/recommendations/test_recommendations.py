"""Recommendations over HTTP, from a history sent along."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import numpy as np
import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi.testclient import TestClient

from libs.database.tables import ModelVersion
from libs.serving.recommendation import engine
from libs.serving.recommendation.encoder import Encoder
from services.recommender.app import make_app
from services.recommender.recommendations import batch
from services.recommender.settings import RecommenderSettings
from tests.integration.recommendations.conftest import Release
from tests.support.recommenders import item_vectors
from tests.support.waiting import until

VECTORS = item_vectors(12, 4)


def expected(history: list[int], left_out: set[int]) -> list[str]:
    """Item ids by the mean of the history's vectors, best first."""
    scores = VECTORS @ VECTORS[history].mean(axis=0)
    order = sorted(range(1, 13), key=lambda number: -scores[number])
    return [f"i{number}" for number in order if number not in left_out]


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommendations", json={"model": "films", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict[str, Any]) -> list[str]:
    assert [one["rank"] for one in answer["items"]] == list(range(1, len(answer["items"]) + 1))
    return [one["item_id"] for one in answer["items"]]


def test_the_best_next_items_of_a_raw_history(client: TestClient, films: ModelVersion) -> None:
    answer = ask(client, items=["i1", "gone", "i4"], k=5)
    assert ids(answer) == expected([1, 4], {1, 4})[:5]
    assert (answer["model"], answer["version"], answer["digest"]) == ("films", 1, films.digest)
    assert (answer["strategy"], answer["unknown_items"]) == ("model", 1)
    assert answer["items"][0].keys() == {"item_id", "score", "rank"}
    scores = VECTORS @ VECTORS[[1, 4]].mean(axis=0)
    assert answer["items"][0]["score"] == pytest.approx(max(np.delete(scores, [0, 1, 4])), abs=1e-5)


def test_where_the_time_went(client: TestClient, films: ModelVersion) -> None:
    answer = client.post("/v1/recommendations", json={"model": "films", "items": ["i1"]})
    for part in ("auth", "compute", "total"):
        assert f"{part};dur=" in answer.headers["Server-Timing"]


def test_events_are_put_in_order_by_their_times(client: TestClient, deploy: Release) -> None:
    deploy("last", encoding="last")
    events = [{"item_id": "i3", "timestamp": "2026-01-02T00:00:00Z"}, {"item_id": "i7", "timestamp": 1}]
    wanted = VECTORS @ VECTORS[3]
    found = ask(client, model="last", events=events, exclude_seen=False, k=12)
    assert ids(found) == [f"i{number}" for number in sorted(range(1, 13), key=lambda number: -wanted[number])]
    untimed = ask(client, model="last", events=[{"item_id": "i3"}, {"item_id": "i7", "timestamp": 1}], k=1)
    assert ids(untimed) != ids(found)[:1]


def test_what_is_left_out(client: TestClient, films: ModelVersion) -> None:
    assert ids(ask(client, items=["i1"], exclude_seen=False, k=12)) == expected([1], set())
    assert ids(ask(client, items=["i1"], exclude_items=["i2", "unheard"], k=12)) == expected([1], {1, 2})
    green = ask(client, items=["i1"], filters={"category": {"in": ["green"]}, "price": {"<": 9}}, k=12)
    assert ids(green) == expected([1], set(range(1, 13)) - {2, 5, 8})


def test_features_of_several_values_are_filtered_by_each(client: TestClient, deploy: Release) -> None:
    genres = ["Action|Comedy", "Comedy", "Drama", None] * 3
    deploy(features={"genres": genres})
    for conditions, kept in (
        ({"has": ["Comedy", "Drama"]}, {1, 2, 3, 5, 6, 7, 9, 10, 11}),
        ({"has_all": ["Comedy", "Action"]}, {1, 5, 9}),
        ({"has": ["Comedy"], "has_not": ["Action"]}, {2, 6, 10}),
        ({"in": ["Comedy"]}, {2, 6, 10}),
    ):
        answer = ask(client, items=["i4"], filters={"genres": conditions}, k=12)
        assert ids(answer) == expected([4], set(range(1, 13)) - kept), conditions


def test_a_price_of_nan_is_a_missing_one(client: TestClient, deploy: Release) -> None:
    deploy(features={"price": [float("nan"), *range(2, 12), None]})
    cheap = ask(client, items=["i4"], filters={"price": {"<": 3}}, k=12)
    assert ids(cheap) == ["i2"]
    missing = ask(client, items=["i4"], filters={"price": {"missing": True}}, k=12)
    assert set(ids(missing)) == {"i1", "i12"}


def test_reasons_and_what_the_model_read(client: TestClient, films: ModelVersion) -> None:
    basic = ask(client, items=["i1", "i4"], explain="basic", k=1)
    (item,) = basic["items"]
    assert {one["item_id"] for one in item["reasons"]} <= {"i1", "i4"}
    assert "explanation" not in basic
    full = ask(client, items=["i1", "i4"], explain="full", k=1)
    assert full["explanation"] == {"history": ["i1", "i4"], "tensors": {"attention": [0.5, 0.5]}}


def test_somebody_new_gets_what_is_popular_and_is_told(client: TestClient, films: ModelVersion) -> None:
    for body in ({}, {"items": []}, {"items": ["unheard"]}, {"user_id": "nobody"}, {"session_id": "none"}):
        answer = ask(client, **body, k=2)
        assert (answer["strategy"], ids(answer)) == ("popular", ["i1", "i2"]), body
    refused = client.post("/v1/recommendations", json={"model": "films", "items": ["unheard"], "fallback": "error"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/items")
    counts = client.get("/metrics").text
    assert re.search(r'octavo_deployment_requests_total\{.*outcome="refused"\S* 1\.0', counts), (
        "asked twice, counted once"
    )


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"k": 0}, "/k"),
    ({"k": 10_000}, "/k"),
    ({"k": "5"}, "/k"),
    ({"k": 1.5}, "/k"),
    ({"diversity": 1.5}, "/diversity"),
    ({"wat": 1}, "/wat"),
    ({"items": ["i1"], "fallback": "x"}, "/fallback"),
    ({"items": [""]}, "/items/0"),
    ({"items": ["i1"] * 10_001}, "/items"),
    ({"events": [{"item_id": "i1"}, {"item_id": "i2", "timestamp": TOMORROW}]}, "/events/1/timestamp"),
    ({"events": [{"item_id": "i1", "timestamp": "2026-01-01T00:00:00"}]}, "/events/0/timestamp"),
    ({"session_id": "s", "append": [{"item_id": "i1", "timestamp": "1700000000000"}]}, "/append/0/timestamp"),
    ({"user_id": "u", "items": ["i1"]}, ""),
    ({"items": ["i1"], "exclude_seen": "no"}, "/exclude_seen"),
    ({"items": ["i1"], "diversity": "0.5"}, "/diversity"),
    ({"items": ["i1"], "filters": {"colour": {"in": ["red"]}}}, "/filters/colour"),
    ({"items": ["i1"], "filters": {"price": {"<": "cheap"}}}, "/filters/price/<"),
    ({"items": ["i1"], "filters": {"price": {"<": None}}}, "/filters/price/<"),
    ({"items": ["i1"], "filters": {"price": {"<": {"than": 5}}}}, "/filters/price/<"),
    ({"items": ["i1"], "filters": {"price": {"<": 10**400}}}, "/filters/price/<"),
    ({"items": ["i1"], "filters": {"category": {"in": ["red", None]}}}, "/filters/category/in/1"),
    ({"items": ["i1"], "filters": {"category": {"in": ["red"] * 1001}}}, "/filters/category/in"),
    ({"items": ["i1"], "filters": {"category": {"has": ["red|blue"]}}}, "/filters/category/has/0"),
    ({"items": ["i1"], "filters": {"price": {"<": float("nan")}}}, "/filters/price/<"),
]


def test_a_wrong_request_is_told_where(client: TestClient, films: ModelVersion) -> None:
    for body, pointer in WRONG:
        text = json.dumps({"model": "films", **body})
        answer = client.post("/v1/recommendations", content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [one["pointer"] for one in answer.json()["errors"]] == [pointer], answer.text


def test_a_batch_answers_each_request_by_itself(client: TestClient, films: ModelVersion) -> None:
    requests = [
        {"model": "films", "items": ["i1"], "k": 2},
        {"model": "film", "items": ["i1"]},
        {"model": "films", "items": ["unheard"], "k": 1},
    ]
    answer = client.post("/v1/recommendations/batch", json={"requests": requests})
    first, missing, popular = answer.json()["answers"]
    assert ids(first["result"]) == expected([1], {1})[:2]
    assert missing["problem"]["code"] == "model_not_loaded"
    assert "Did you mean 'films'?" in missing["problem"]["detail"]
    assert popular["result"]["strategy"] == "popular"
    assert first["result"]["request_id"] != popular["result"]["request_id"]
    assert [one["pointer"] for one in missing["problem"]["errors"]] == ["/model"]
    wrong = [{"model": "films", "k": 0}, {"model": "films", "itms": []}, requests[0], 7]
    wrong += [{**requests[0], "filters": {"colour": {"in": ["red"]}}}, {"model": "films", "fallback": "error"}]
    k, field, right, number, colour, nothing = client.post(
        "/v1/recommendations/batch", json={"requests": wrong}
    ).json()["answers"]  # fmt: skip
    assert ids(right["result"]) == ids(first["result"])
    problems = [one["problem"] for one in (k, field, number, colour, nothing)]
    assert {one["status"] for one in problems} == {422}
    assert [one["errors"][0]["pointer"] for one in problems] == ["/k", "/itms", "", "/filters/colour", ""]
    assert "Did you mean 'items'" in problems[1]["detail"]
    many = client.post("/v1/recommendations/batch", json={"requests": requests[:1] * 257})
    assert many.json()["errors"][0]["pointer"] == "/requests"


def test_a_batch_is_computed_together_and_stops_reading_when_it_takes_too_long(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    run = Encoder._run
    monkeypatch.setattr(Encoder, "_run", lambda self, rows, users: runs.append(len(rows)) or run(self, rows, users))
    requests = [{"model": "films", "items": [f"i{number}"], "k": 2} for number in (1, 2, 3)]
    alone = [ids(ask(client, **{**one, "model": "films"})) for one in requests]
    runs.clear()
    answers = client.post("/v1/recommendations/batch", json={"requests": requests}).json()["answers"]
    assert [ids(one["result"]) for one in answers] == alone
    assert runs == [3]
    with monkeypatch.context() as bounded:
        bounded.setattr(batch, "_EVENTS_AT_ONCE", 1)
        answers = client.post("/v1/recommendations/batch", json={"requests": requests}).json()["answers"]
    assert [ids(one["result"]) for one in answers] == alone
    assert runs == [3, 2, 1]
    ticks = iter([0.0, 1.0])
    monkeypatch.setattr(batch, "monotonic", lambda: next(ticks, 1e9))
    answers = client.post("/v1/recommendations/batch", json={"requests": requests}).json()["answers"]
    assert [one.get("problem", {}).get("code") for one in answers] == [None, *["deadline_exceeded"] * 2]


def tasks_waiting() -> int:
    return current_default_thread_limiter().statistics().tasks_waiting


def test_more_requests_than_may_wait_are_told_to_come_again(
    settings: RecommenderSettings, client: TestClient, films: ModelVersion, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = Event()
    similar = engine.similar
    narrow = settings.model_copy(update={"pool_size": 1, "max_waiting": 1})
    asked = {"model": "films", "item_id": "i1"}
    with (
        TestClient(make_app(narrow), headers={"Authorization": f"Bearer {key}"}) as busy,
        ThreadPoolExecutor(2) as pool,
    ):
        until(lambda: busy.post("/v1/similar", json=asked).status_code == 200, "films is served")
        monkeypatch.setattr(engine, "similar", lambda *told: go_on.wait(60) and similar(*told))
        sent = [pool.submit(busy.post, "/v1/similar", json=asked) for _ in range(2)]
        try:
            until(lambda: busy.portal.call(tasks_waiting) == 1, "the second request waits for a thread")
            refused = busy.post("/v1/similar", json=asked)
        finally:
            go_on.set()
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert [one.result(60).status_code for one in sent] == [200, 200]


def test_similar_items(client: TestClient, films: ModelVersion) -> None:
    answer = client.post("/v1/similar", json={"model": "films", "item_id": "i3", "k": 3}).json()
    unit = VECTORS[1:] / np.linalg.norm(VECTORS[1:], axis=1, keepdims=True)
    cosines = unit @ unit[2]
    cosines[2] = -np.inf
    assert ids(answer) == [f"i{place + 1}" for place in np.argsort(-cosines)[:3]]
    assert (answer["strategy"], answer["by"]) == ("similar", "vectors")
    unknown = client.post("/v1/similar", json={"model": "films", "item_id": "i33"})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/item_id")


def test_candidates_are_put_in_order(client: TestClient, films: ModelVersion) -> None:
    body = {"model": "films", "items": ["i1", "x"], "candidates": ["i9", "y", "i2", "i1"]}
    answer = client.post("/v1/score", json=body).json()
    assert ids(answer) == [one for one in expected([1], set()) if one in body["candidates"]]
    assert (answer["unknown_items"], answer["unknown_candidates"]) == (1, ["y"])
    cold = client.post("/v1/score", json={**body, "items": ["x"]})
    assert (cold.status_code, cold.json()["errors"][0]["pointer"]) == (422, "/items")
    assert client.post("/v1/score", json={**body, "candidates": []}).json()["errors"][0]["pointer"] == "/candidates"
