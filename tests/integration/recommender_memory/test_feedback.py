"""Feedback: counted once, only of what was recommended, and what it says of versions and variants."""

from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sqlalchemy import Engine, func, select

from libs.database.engine import session, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Feedback, Model, ModelVersion, Recommendation
from libs.registry.deployments import create_deployment
from services.recommender.feedback.intervals import rate
from services.recommender.memory import Memory
from tests.integration.recommender_memory.conftest import MakeClient
from tests.support.memory import record


def recommend(memory: Memory, items: list[str], **changes: object) -> str:
    memory.recorder.record_recommendation(made := record(items, **changes))
    return str(made.request_id)


def test_what_was_recommended_can_be_asked_for(client: TestClient, memory: Memory, make_client: MakeClient):
    request_id = recommend(memory, ["x", "y"], user_id="u")
    answer = client.get(f"/v1/recommendations/{request_id}/explanation").json()
    assert answer.pop("created_at")
    assert answer == {
        "request_id": request_id,
        "deployment": "shop",
        "arm": "shop",
        "stands_in_for": None,
        "variant": "champion",
        "model": "shop-hcrnn",
        "version": 3,
        "user_id": "u",
        "session_id": "s-1",
        "strategy": "model",
        "history": ["a", "b"],
        "items": [
            {"rank": 1, "item_id": "x", "score": 1.0, "reasons": [{"because": "seen", "item_id": "a"}]},
            {"rank": 2, "item_id": "y", "score": 0.5, "reasons": [{"because": "seen", "item_id": "a"}]},
        ],
    }
    stranger = make_client("admin", project_id=uuid4())
    for missing in (
        stranger.get(f"/v1/recommendations/{request_id}/explanation"),
        stranger.post("/v1/feedback", json={"request_id": request_id, "clicks": ["x"]}),
        client.get(f"/v1/recommendations/{uuid4()}/explanation"),
        client.post("/v1/feedback", json={"request_id": str(uuid4()), "clicks": ["x"]}),
    ):
        assert (missing.status_code, missing.json()["code"]) == (404, "recommendation_not_found")


def test_feedback_counts_once_and_a_click_was_seen(client: TestClient, memory: Memory, engine: Engine):
    request_id = recommend(memory, ["x", "y", "z"])
    sent = {"request_id": request_id, "impressions": ["x", "y"], "clicks": ["z", "z"]}
    assert client.post("/v1/feedback", json=sent).json() == {"recorded": 4, "duplicates": 0}
    assert client.post("/v1/feedback", json=sent).json() == {"recorded": 0, "duplicates": 4}
    more = {"request_id": request_id, "conversions": ["z"]}
    assert client.post("/v1/feedback", json=more).json() == {"recorded": 1, "duplicates": 1}
    with session(engine) as opened:
        found = opened.execute(select(Feedback.kind, Feedback.rank, Feedback.item_id)).all()
    assert set(found) == {
        ("impression", 1, "x"),
        ("impression", 2, "y"),
        ("impression", 3, "z"),
        ("click", 3, "z"),
        ("conversion", 3, "z"),
    }


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"clicks": ["x", "stranger"]}, "/clicks/1"),
        ({"impressions": ["x"], "conversions": ["stranger"]}, "/conversions/0"),
        ({"clicks": [7]}, "/clicks/0"),
        ({"clicks": ["x"] * 1001}, "/clicks"),
        ({"click": ["x"]}, "/click"),
        ({}, ""),
        ({"request_id": "seven", "clicks": ["x"]}, "/request_id"),
    ],
)
def test_wrong_feedback_is_refused_where_it_is_wrong(
    client: TestClient, memory: Memory, engine: Engine, wrong: dict, pointer: str
):
    answer = client.post("/v1/feedback", json={"request_id": recommend(memory, ["x"]), **wrong})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    with session(engine) as opened:
        assert opened.scalar(select(func.count()).select_from(Feedback)) == 0


def add_version(engine: Engine, items: int) -> ModelVersion:
    with transaction(engine) as opened:
        model = Model(project_id=DEFAULT_PROJECT_ID, name="shop-hcrnn")
        opened.add(model)
        opened.flush()
        row = ModelVersion(
            project_id=DEFAULT_PROJECT_ID,
            model_id=model.id,
            version=4,
            status="ready",
            method="hcrnn",
            task="next-item",
            uri="file:///x",
            digest="d",
            size_bytes=1,
            bundle={"items": items},
            metrics={},
            lineage={},
            gates={},
        )
        opened.add(row)
    return row


def test_the_summary_counts_by_version_and_by_variant(client: TestClient, memory: Memory, engine: Engine):
    new = {"version": 4, "version_id": add_version(engine, 20).id, "variant": "challenger"}
    answers = [
        (recommend(memory, ["a", "b", "c"]), {"impressions": ["a", "b", "c"], "clicks": ["c"]}),
        (recommend(memory, ["a", "b", "d"]), {"impressions": ["a", "b"]}),
        (recommend(memory, ["a", "b", "c"], **new), {"impressions": ["a"], "clicks": ["a", "b"], "conversions": ["b"]}),
        (recommend(memory, ["a", "b", "c"], **new, deployment="app"), None),
        (recommend(memory, ["a"], model="another"), {"clicks": ["a"]}),
    ]
    for request_id, feedback in answers:
        if feedback:
            assert client.post("/v1/feedback", json={"request_id": request_id, **feedback}).status_code == 200
    found = client.get("/v1/feedback/summary", params={"model": "shop-hcrnn", "k": 2}).json()

    old, version = found["versions"]
    assert (old["version"], old["requests"], old["coverage"], old["items_shown"]) == (3, 2, None, 3)
    assert (old["ctr"]["count"], old["ctr"]["of"]) == (1, 5)
    assert (old["hit_rate"]["value"], old["hit_rate"]["of"]) == (0.0, 2)  # the click was at rank 3
    assert (version["version"], version["requests"], version["coverage"], version["items_shown"]) == (4, 2, 0.1, 2)
    assert (version["ctr"]["value"], version["conversion_rate"]["value"]) == (1.0, 0.5)
    assert (version["hit_rate"]["count"], version["hit_rate"]["of"]) == (1, 1)
    by_variant = [
        (one["deployment"], one["variant"], one["requests"], one["ctr"]["value"]) for one in found["variants"]
    ]
    assert {(one["arm"] == one["deployment"], one["model"]) for one in found["variants"]} == {(True, "shop-hcrnn")}
    assert by_variant == [("app", "challenger", 1, None), ("shop", "challenger", 1, 1.0), ("shop", "champion", 2, 0.2)]
    deeper = client.get("/v1/feedback/summary", params={"model": "shop-hcrnn", "k": 3}).json()
    assert deeper["versions"][0]["hit_rate"]["count"] == 1
    of_shop = client.get("/v1/feedback/summary", params={"deployment": "shop", "k": 2}).json()
    assert [(one["model"], one["version"], one["requests"]) for one in of_shop["versions"]] == [
        ("another", 3, 1), ("shop-hcrnn", 3, 2), ("shop-hcrnn", 4, 1)
    ]  # fmt: skip


def test_a_summary_is_of_one_name_that_there_is(client: TestClient, memory: Memory, engine: Engine):
    add_version(engine, 20)
    with transaction(engine) as opened:
        create_deployment(opened, DEFAULT_PROJECT_ID, "shop", "shop-hcrnn")
    for query in ("model=shop-hcrnn", "deployment=shop"):  # they are there, and nobody asked them
        nothing = client.get(f"/v1/feedback/summary?{query}").json()
        assert (nothing["versions"], nothing["variants"]) == ([], [])
    for query, code, hint in (
        ("model=shop-hcrn", "model_not_found", "Did you mean 'shop-hcrnn'?"),
        ("model=shop", "model_not_found", "There is a deployment of that name: ask with `deployment=shop`."),
        ("deployment=shopp", "deployment_not_found", "Did you mean 'shop'?"),
        ("deployment=shop-hcrnn", "deployment_not_found", "ask with `model=shop-hcrnn`."),
    ):
        unknown = client.get(f"/v1/feedback/summary?{query}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, code)
        assert hint in unknown.json()["detail"]
    for query, pointer in (("", "/model"), ("?model=a&deployment=b", "/deployment"), ("?model=m&k=0", "/k")):
        wrong = client.get(f"/v1/feedback/summary{query}")
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, pointer)
        assert wrong.json()["errors"][0]["location"] == "query"


def test_old_answers_are_left_out_of_the_summary(client: TestClient, memory: Memory, engine: Engine):
    add_version(engine, 20)
    recommend(memory, ["a"])
    assert memory.recorder.flush(10)
    with transaction(memory.engine) as opened:
        opened.query(Recommendation).update({"created_at": func.now() - func.make_interval(0, 0, 0, 8)})
    assert client.get("/v1/feedback/summary?model=shop-hcrnn&days=7").json()["versions"] == []
    assert len(client.get("/v1/feedback/summary?model=shop-hcrnn&days=9").json()["versions"]) == 1


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_is_wilsons(counts: tuple[int, int]):
    count, of = counts
    expected = binomtest(count, of).proportion_ci(method="wilson")
    found = rate(count, of)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_share_of_nothing_is_not_known():
    assert rate(0, 0).model_dump() == {"value": None, "low": None, "high": None, "count": 0, "of": 0}
