"""Recommendations for users and sessions whose events Octavo has."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion, Recommendation
from libs.registry.deployments import update_deployment
from libs.serving.recommendation.encoder import Encoder
from libs.serving.recommendation.session_state import SessionStates
from services.recommender.history import repository
from services.recommender.sessions.store import SessionStore
from tests.integration.recommendations.conftest import Release
from tests.support.serving import add_key
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


def test_an_erased_user_is_somebody_new_and_their_answers_are_gone(client: TestClient, films: ModelVersion) -> None:
    tell(client, session_id="s1", item_id="i4")
    tell(client, session_id="s1", user_id="u1", item_id="i1")
    answers = [ask(client, user_id="u1"), ask(client, session_id="s1")]
    assert [one["strategy"] for one in answers] == ["model", "model"]
    assert client.delete("/v1/users/u1/history").status_code == 204
    for whose in ({"user_id": "u1"}, {"session_id": "s1"}):
        assert ask(client, **whose)["strategy"] == "popular"
        refused = client.post("/v1/score", json={"model": "films", **whose, "candidates": ["i2"]})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/{next(iter(whose))}")
    request_id = answers[0]["request_id"]
    clicked = {"request_id": request_id, "clicks": [answers[0]["items"][0]["item_id"]]}
    for gone in (
        client.get(f"/v1/recommendations/{request_id}/explanation"),
        client.post("/v1/feedback", json=clicked),
    ):
        assert (gone.status_code, gone.json()["code"]) == (404, "recommendation_not_found")


def test_an_event_told_twice_is_stepped_over_once(client: TestClient, films: ModelVersion) -> None:
    for item, event_id in (("i1", "e1"), ("i4", "e2"), ("i1", "e1"), ("i9", "e2")):
        tell(client, session_id="s1", user_id="u1", item_id=item, event_id=event_id)
        ask(client, session_id="s1")
    for whose in ({"user_id": "u1"}, {"session_id": "s1"}):
        assert same_items(ask(client, **whose), ask(client, items=["i1", "i4"]))


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
    saved: list[int] = []
    monkeypatch.setattr(SessionStore, "save_state", lambda *_: saved.append(1))
    assert same_items(ask(client, session_id="s1"), answer)
    assert saved == [], "a state that nothing was added to is not written again"
    for item in ("i2", "i3", "i5", "i6"):  # more than the six events that the model reads
        tell(client, session_id="s1", item_id=item)
    long = ask(client, session_id="s1")
    assert same_items(long, ask(client, items=["i1", "i4", "i9", "i2", "i3", "i5", "i6"]))
    for item in ("i1", "i2", "i3", "i4", "i5", "i6", "i7"):
        tell(client, session_id="long at first sight", item_id=item)
    ask(client, session_id="long at first sight")
    assert advanced == [1, 4, 9], "what the model cannot step through to the end is not begun"


def test_one_request_appends_to_a_session_and_recommends_after_it(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(client, session_id="s1", item_id="i1")
    ask(client, session_id="s1")
    stepped: list[int] = []
    advance = SessionStates.advance
    monkeypatch.setattr(SessionStates, "advance", lambda *told: stepped.append(told[-1]) or advance(*told))
    new = [{"item_id": "i4", "event_id": "e1", "user_id": "u1"}, {"item_id": "i9", "type": "purchase"}]
    assert same_items(ask(client, session_id="s1", append=new), ask(client, items=["i1", "i4", "i9"]))
    assert stepped == [4, 9], "only what is new is stepped over"
    assert same_items(ask(client, session_id="s1", append=new[:1]), ask(client, items=["i1", "i4", "i9"]))
    assert same_items(ask(client, user_id="u1"), ask(client, items=["i4"]))
    assert same_items(ask(client, session_id="s2", append=new[1:]), ask(client, items=["i9"]))
    kept = client.get("/v1/sessions/s1/history").json()["items"]
    assert [(one["item_id"], one["type"]) for one in kept] == [("i9", "purchase"), ("i4", "view"), ("i1", "view")]


def test_what_is_appended_is_checked_as_events_are(client: TestClient, films: ModelVersion, engine: Engine) -> None:
    late = {"item_id": "i1", "timestamp": "2999-01-01T00:00:00Z"}
    for body, pointer in (
        ({"session_id": "s1", "append": [{"item_id": "i1"}, late]}, "/append/1/timestamp"),
        ({"session_id": "s1", "append": []}, "/append"),
        ({"session_id": "s1", "append": [{"item_id": "i1"}] * 101}, "/append"),
        ({"session_id": "s1", "append": [{"item_id": "i1", "type": "Nö"}]}, "/append/0/type"),
        ({"user_id": "u1", "append": [{"item_id": "i1"}]}, ""),
    ):
        refused = client.post("/v1/recommendations", json={"model": "films", **body})
        assert refused.status_code == 422, refused.text
        assert [one["pointer"] for one in refused.json()["errors"]] == [pointer]
    appending = {"session_id": "s1", "append": [{"item_id": "i1"}]}
    assert client.post("/v1/recommendations", json={"model": "none", **appending}).status_code == 404
    (one,) = client.post("/v1/recommendations/batch", json={"requests": [{"model": "films", **appending}]}).json()[
        "answers"
    ]
    assert (one["problem"]["status"], one["problem"]["errors"][0]["pointer"]) == (422, "/append")
    only_infers = {"Authorization": f"Bearer {add_key(engine, ['infer'])}"}
    refused = client.post("/v1/recommendations", json={"model": "films", **appending}, headers=only_infers)
    assert (refused.status_code, "events:write" in refused.json()["detail"]) == (403, True)
    assert client.get("/v1/sessions/s1/history").json()["items"] == [], "nothing of these was kept"


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
    appended = ask(client, session_id="s1", append=[{"item_id": "i4"}])
    assert same_items(appended, ask(client, items=["i1", "i4"]))


def test_an_answer_is_explained_by_its_request_id(client: TestClient, films: ModelVersion) -> None:
    for item in ("i9", "i8", "i7", "i1", "i6", "unheard", "i4", "i1"):
        tell(client, user_id="u1", item_id=item)
    answer = ask(client, user_id="u1", explain="basic")
    assert any(one.get("reasons") for one in answer["items"])
    address = f"/v1/recommendations/{UUID(answer['request_id'])}/explanation"
    until(lambda: client.get(address).status_code == 200, "it is written down")
    told = client.get(address).json()
    assert (told["deployment"], told["variant"], told["model"], told["version"]) == ("films", "", "films", 1)
    assert told["history"] == ["i8", "i7", "i1", "i6", "i4", "i1"], "the newest six that the model knows"
    assert [(one["item_id"], one["reasons"]) for one in told["items"]] == [
        (one["item_id"], one.get("reasons", [])) for one in answer["items"]
    ]
    feedback = {"request_id": answer["request_id"], "clicks": [answer["items"][0]["item_id"]]}
    assert client.post("/v1/feedback", json=feedback).status_code == 200


@pytest.mark.parametrize("history", [{"items": ["i1", "i4"]}, {"events": [{"item_id": "i1"}, {"item_id": "i4"}]}])
def test_a_history_that_was_sent_along_is_not_kept(
    client: TestClient, films: ModelVersion, engine: Any, history: dict[str, Any]
) -> None:
    answer = ask(client, **history, explain="full")
    assert any(one.get("reasons") for one in answer["items"])
    address = f"/v1/recommendations/{answer['request_id']}/explanation"
    until(lambda: client.get(address).status_code == 200, "it is written down")
    with transaction(engine) as session:
        kept = session.scalars(select(Recommendation)).one()
        assert (kept.history, [one["reasons"] for one in kept.items]) == ([], [[], [], []])


def test_a_fallback_read_no_history(client: TestClient, films: ModelVersion) -> None:
    tell(client, user_id="u1", item_id="unheard")
    answer = ask(client, user_id="u1")
    address = f"/v1/recommendations/{answer['request_id']}/explanation"
    until(lambda: client.get(address).status_code == 200, "it is written down")
    told = client.get(address).json()
    assert (told["strategy"], told["history"]) == ("popular", [])


def test_what_no_training_event_tells_of_is_answered_by_features(client: TestClient, deploy: Release) -> None:
    genres = ["drama", "comedy|crime", "crime", None, "crime|noir", None]
    deploy(items=6, features={"category": genres}, training_count=[50, 40, 30, 20, 0, 0])
    for name in ("u1", "s1"):
        tell(client, **{"user_id" if name == "u1" else "session_id": name}, item_id="i5")
    crime, noir, comedy = (np.round(np.log(1 + 4 / (1 + films)) * 1024) / 1024 for films in (2, 0, 1))
    scores = [crime / (crime + noir), crime / (crime + noir + comedy), 0]
    answers = [ask(client, **whose, explain="basic") for whose in ({"user_id": "u1"}, {"session_id": "s1"})]
    for answer in answers:
        assert answer["strategy"] == "similar"
        assert [one["item_id"] for one in answer["items"]] == ["i3", "i2", "i1"]
        assert [one["score"] for one in answer["items"]] == pytest.approx(scores)
    why = answers[0]["items"][0]["reasons"]
    like = pytest.approx(scores[0])
    assert why == [{"item_id": "i5", "users_together": 0, "similarity": like, "features": {"category": like}}]
    assert "reasons" not in answers[0]["items"][2]
    address = f"/v1/recommendations/{answers[0]['request_id']}/explanation"
    until(lambda: client.get(address).status_code == 200, "it is written down")
    told = client.get(address).json()
    assert (told["strategy"], told["history"], told["items"][0]["reasons"]) == ("similar", [], why)
    for body, strategy in (({"items": ["i5", "i6"]}, "similar"), ({"items": ["i6"]}, "popular")):
        assert ask(client, **body)["strategy"] == strategy
    assert ask(client, items=["i5"], fallback="popular")["strategy"] == "popular"
    refused = client.post("/v1/recommendations", json={"model": "films", "user_id": "u1", "fallback": "error"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/user_id")
    alike = client.post("/v1/similar", json={"model": "films", "item_id": "i5"}).json()
    assert (alike["strategy"], alike["by"]) == ("similar", "features")
    assert [one["item_id"] for one in alike["items"]] == ["i3", "i2"]


def test_candidates_are_scored_from_the_state_of_a_session(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in ("i1", "i4"):
        tell(client, session_id="s1", item_id=item)
    candidates = ["i9", "i2", "i3"]
    expected = client.post("/v1/score", json={"model": "films", "items": ["i1", "i4"], "candidates": candidates})
    encoded: list[int] = []
    monkeypatch.setattr(Encoder, "features", lambda *_: encoded.append(1))
    body = {"model": "films", "session_id": "s1", "candidates": candidates}
    assert same_items(client.post("/v1/score", json=body).json(), expected.json())
    assert encoded == []


def test_no_more_of_a_user_is_read_than_is_needed(
    client: TestClient, films: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(repository, "newest_items", lambda *told: limits.append(told[-1]) or ["i1"])
    for exclude_seen in (None, True, False):
        ask(client, user_id="u1", exclude_seen=exclude_seen)
    client.post("/v1/score", json={"model": "films", "user_id": "u1", "candidates": ["i2"]})
    assert limits == [10_000, 10_000, 60, 60]
