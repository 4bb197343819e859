"""Recommendations for users and sessions whose events Octavo has."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion
from libs.registry.deployments import update_deployment
from libs.serving.recommendation.session_state import SessionStates
from services.recommender.sessions.store import SessionStore
from tests.integration.recommendations.conftest import Release
from tests.support.waiting import until


def tell(client: TestClient, **event: str) -> None:
    answer = client.post("/v1/events", json=event)
    assert answer.status_code == 200, answer.text


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommendations", json={"model": "films", "k": 3, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def same_items(one: dict[str, Any], other: dict[str, Any]) -> bool:
    scores = [item["score"] for item in other["items"]]
    return [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]] and [
        item["score"] for item in one["items"]
    ] == pytest.approx(scores, abs=1e-5)


def test_a_user_is_recommended_what_follows_the_events_told(client: TestClient, films: ModelVersion) -> None:
    for item in ("i1", "i4"):
        tell(client, user_id="u1", item_id=item)
    assert same_items(ask(client, user_id="u1"), ask(client, items=["i1", "i4"]))
    assert client.delete("/v1/users/u1/history").status_code == 204
    assert ask(client, user_id="u1")["strategy"] == "popular"


def test_a_session_goes_on_from_its_state(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced: list[int] = []
    advance = SessionStates.advance

    def counted(states: SessionStates, state: Any, item: int) -> Any:
        advanced.append(item)
        return advance(states, state, item)

    monkeypatch.setattr(SessionStates, "advance", counted)
    for item in ("i1", "i4"):
        tell(client, session_id="s1", item_id=item)
    assert same_items(ask(client, session_id="s1"), ask(client, items=["i1", "i4"]))
    tell(client, session_id="s1", item_id="unheard")
    tell(client, session_id="s1", item_id="i9")
    answer = ask(client, session_id="s1")
    assert same_items(answer, ask(client, items=["i1", "i4", "i9"]))
    assert answer["unknown_items"] == 1
    assert advanced == [1, 4, 9], "each event is stepped over once"
    for item in ("i2", "i3", "i5", "i6"):  # more than the six events that the model reads
        tell(client, session_id="s1", item_id=item)
    long = ask(client, session_id="s1")
    assert same_items(long, ask(client, items=["i1", "i4", "i9", "i2", "i3", "i5", "i6"]))


def test_the_state_of_another_version_is_not_used(
    client: TestClient, films: ModelVersion, release: Release, engine: Any
) -> None:
    tell(client, session_id="s1", item_id="i1")
    ask(client, session_id="s1")
    release(seed=5)
    with transaction(engine) as session:
        update_deployment(session, DEFAULT_PROJECT_ID, "films", "films@2")
    until(lambda: ask(client)["version"] == 2, "version 2 serves")
    tell(client, session_id="s1", item_id="i4")
    assert same_items(ask(client, session_id="s1"), ask(client, items=["i1", "i4"]))


def test_without_the_cache_a_session_comes_from_postgres(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(client, session_id="s1", item_id="i1")
    monkeypatch.setattr(SessionStore, "_ask", lambda self, call, otherwise: otherwise)
    assert same_items(ask(client, session_id="s1"), ask(client, items=["i1"]))


def test_an_answer_is_explained_by_its_request_id(client: TestClient, films: ModelVersion) -> None:
    answer = ask(client, items=["i1", "i4"], explain="basic")
    address = f"/v1/recommendations/{UUID(answer['request_id'])}/explanation"
    until(lambda: client.get(address).status_code == 200, "it is written down")
    told = client.get(address).json()
    assert (told["deployment"], told["variant"], told["model"], told["version"]) == ("films", "", "films", 1)
    assert told["history"] == ["i1", "i4"]
    assert [(one["item_id"], one["reasons"]) for one in told["items"]] == [
        (one["item_id"], one["reasons"]) for one in answer["items"]
    ]
    feedback = {"request_id": answer["request_id"], "clicks": [answer["items"][0]["item_id"]]}
    assert client.post("/v1/feedback", json=feedback).status_code == 200
