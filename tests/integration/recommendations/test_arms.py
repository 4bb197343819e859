"""Deployments that share their requests: an A/B test of two versions, over HTTP."""

import threading
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID as P
from libs.database.tables import ModelVersion
from libs.registry.aliases import set_alias
from libs.registry.deployments import DeploymentSettings, create_deployment, set_loaded, update_deployment
from libs.serving.deployments.states import Key
from libs.serving.recommendation.model import LoadedRecommender
from tests.integration.recommendations.conftest import Release
from tests.support.waiting import until


def share(engine: Engine, **percent: float) -> None:
    traffic = {name.replace("_", "-"): share for name, share in percent.items()}
    with transaction(engine) as session:
        update_deployment(session, P, "films", settings=DeploymentSettings(traffic=traffic))


def ask(client: TestClient, address: str = "/v1/recommendations", **body: Any) -> dict[str, Any]:
    answer = client.post(address, json={"model": "films", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def arm_of(client: TestClient, user: str) -> str:
    found: str = ask(client, user_id=user, k=1)["arm"]
    return found


@pytest.fixture
def two(client: TestClient, engine: Engine, release: Release) -> list[ModelVersion]:
    """`films` follows production, version 1, and `films-new` the challenger, version 2; 30 % go to the challenger."""
    versions = [release(), release(seed=1)]
    with transaction(engine) as session:
        for number, (alias, name) in enumerate((("production", "films"), ("challenger", "films-new")), start=1):
            set_alias(session, P, "films", alias, number)
            create_deployment(session, P, name, f"films@{alias}").id = UUID(int=number)  # so are the draws the same
    share(engine, films_new=30)
    for name in ("films", "films-new"):
        until(
            lambda name=name: client.post("/v1/similar", json={"model": name, "item_id": "i1"}).status_code == 200,
            f"{name} is served",
        )
    until(lambda: len({arm_of(client, f"u{n}") for n in range(9)}) == 2, "requests are shared")
    return versions


def test_an_a_b_test_from_request_to_summary(client: TestClient, two: list[ModelVersion]) -> None:
    users = [f"u{number}" for number in range(40)]
    arms = {user: arm_of(client, user) for user in users}
    assert arms == {user: arm_of(client, user) for user in users}, "a user is answered by the same deployment"
    assert Counter(arms.values()) == {"films": 30, "films-new": 10}, "about 30 %"
    for user, arm in arms.items():
        answer = ask(client, user_id=user, k=2, explain="basic")
        version = two[arm == "films-new"]
        assert (answer["arm"], answer["version"], answer["digest"]) == (arm, version.version, version.digest)
        assert "stands_in_for" not in answer
        items = [one["item_id"] for one in answer["items"]]
        clicked = items[:1] if arm == "films-new" else []
        client.post(
            "/v1/feedback", json={"request_id": answer["request_id"], "impressions": items, "clicks": clicked}
        ).raise_for_status()
        told = client.get(f"/v1/recommendations/{answer['request_id']}/explanation").json()
        assert (told["deployment"], told["arm"], told["stands_in_for"]) == ("films", arm, None)
        assert told["variant"] == {"films": "production", "films-new": "challenger"}[arm]
    direct = ask(client, model="films-new", user_id="staff")  # asked by its own name, it is no part of the comparison
    client.get(f"/v1/recommendations/{direct['request_id']}/explanation").raise_for_status()  # it is written down

    found = client.get("/v1/feedback/summary", params={"deployment": "films"}).json()
    assert (found["model"], found["deployment"]) == (None, "films")
    assert [(one["model"], one["version"]) for one in found["versions"]] == [("films", 1), ("films", 2)]
    old, new = found["variants"]
    assert [(one["arm"], one["variant"]) for one in (old, new)] == [
        ("films", "production"),
        ("films-new", "challenger"),
    ]
    assert (old["ctr"]["value"], new["ctr"]["value"], new["hit_rate"]["value"]) == (0.0, 0.5, 1.0)
    assert (old["hit_rate"]["of"], new["hit_rate"]["of"]) == (30, 10)
    assert new["ctr"]["low"] < 0.5 < new["ctr"]["high"]
    by_model = client.get("/v1/feedback/summary", params={"model": "films"}).json()["variants"]
    assert [(one["deployment"], one["arm"]) for one in by_model] == [
        ("films", "films"), ("films", "films-new"), ("films-new", "films-new")
    ]  # fmt: skip


def test_whoever_is_named_decides_in_whatever_way_they_are_named(client: TestClient, two: list[ModelVersion]) -> None:
    arms = {user: arm_of(client, user) for user in (f"u{number}" for number in range(12))}
    assert len(set(arms.values())) == 2
    for user, arm in arms.items():
        assert ask(client, session_id=user)["arm"] == arm
        assert ask(client, items=["i1"], assign_by=user)["arm"] == arm
        assert ask(client, "/v1/similar", item_id="i1", assign_by=user)["arm"] == arm
        assert ask(client, "/v1/score", items=["i1"], candidates=["i2"], assign_by=user)["arm"] == arm
    requests = [{"model": "films", "user_id": user} for user in arms]
    answers = client.post("/v1/recommendations/batch", json={"requests": requests}).json()["answers"]
    assert [one["result"]["arm"] for one in answers] == list(arms.values())
    until(lambda: ask(client, items=["i1"])["arm"] == "films-new", "a request of nobody goes by its own id")
    assert ask(client, "/v1/similar", item_id="i1")["arm"] == "films"


def test_shares_change_under_load_without_a_failed_request_or_a_load(
    client: TestClient, engine: Engine, two: list[ModelVersion]
) -> None:
    models = client.app.state.recommender.runtime.models

    def loaded() -> list[LoadedRecommender]:
        with models.hold(Key(P, "films")) as one, models.hold(Key(P, "films-new")) as other:
            return [one, other]

    before = loaded()
    done, answers = threading.Event(), []

    def load() -> None:
        number = 0
        while not done.is_set():
            number += 1
            answers.append(client.post("/v1/recommendations", json={"model": "films", "user_id": f"u{number % 50}"}))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for percent, everybody in ((100, "films-new"), (1e-7, "films"), (100, "films-new")):
            share(engine, films_new=percent)
            until(lambda arm=everybody: {arm_of(client, f"u{n}") for n in range(20)} == {arm}, f"all go to {everybody}")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert {one.status_code for one in answers} == {200}
    assert all(one is other for one, other in zip(loaded(), before, strict=True))


def test_an_arm_that_is_not_loaded_is_stood_in_for_and_that_is_said(
    client: TestClient, engine: Engine, two: list[ModelVersion]
) -> None:
    arms = {user: arm_of(client, user) for user in (f"u{number}" for number in range(12))}
    chosen = next(user for user, arm in arms.items() if arm == "films-new")
    with transaction(engine) as session:
        set_loaded(session, P, "films-new", loaded=False)
    until(lambda: arm_of(client, chosen) == "films", "the arm is unloaded")
    answer = ask(client, user_id=chosen)
    assert (answer["arm"], answer["stands_in_for"], answer["version"]) == ("films", "films-new", 1)
    batch = client.post(
        "/v1/recommendations/batch", json={"requests": [{"model": "films", "user_id": user} for user in arms]}
    ).json()
    assert {one["result"].get("stands_in_for") for one in batch["answers"]} == {None, "films-new"}
    told = client.get(f"/v1/recommendations/{UUID(answer['request_id'])}/explanation").json()
    assert (told["arm"], told["stands_in_for"]) == ("films", "films-new")
    variants = client.get("/v1/feedback/summary?deployment=films").json()["variants"]
    found = {(one["arm"], one["stands_in_for"]) for one in variants}
    assert found == {("films", "films-new"), ("films", None), ("films-new", None)}
    counted = client.get("/metrics").text
    assert 'octavo_recommender_arms_total{arm="films-new",deployment="films",outcome="not_loaded"}' in counted
