"""What a user or a session did, by pages; and erasing it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import redis
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text

from libs.database.engine import session, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Feedback, Recommendation, UserEvent
from services.recommender.history import repository
from services.recommender.history.repository import Actor
from services.recommender.history.service import items_of_user
from services.recommender.memory import Memory
from tests.integration.recommender_memory.conftest import MakeClient
from tests.support.memory import record

PROJECT = DEFAULT_PROJECT_ID
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def tell(client: TestClient, item: str, second: int = 0, **who: str) -> None:
    at = (BEGIN + timedelta(seconds=second)).isoformat()
    assert client.post("/v1/events", json={"item_id": item, "timestamp": at, **who}).status_code == 200


def items(answer: dict) -> list[str]:
    return [one["item_id"] for one in answer["items"]]


def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_repeat(client: TestClient):
    for place, second in enumerate([3, 1, 1, 1, 2, 0, 3]):
        tell(client, f"i{place}", second, user_id="u")
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/users/u/history", params=query).json()
        found, cursor, pages = found + items(page), page["next_cursor"], pages + 1
    assert found == ["i6", "i0", "i4", "i3", "i2", "i1", "i5"]
    assert pages == 4


def test_an_event_is_shown_as_it_is_stored(client: TestClient):
    tell(client, "i", 5, user_id="u", session_id="s", type="purchase")
    assert client.get("/v1/sessions/s/history").json()["items"] == [
        {
            "item_id": "i",
            "type": "purchase",
            "timestamp": "2026-01-01T00:00:05Z",
            "user_id": "u",
            "session_id": "s",
        }
    ]


def test_ids_may_hold_what_addresses_are_made_of(client: TestClient):
    tell(client, "i", user_id="a/b c?d%/history")
    assert items(client.get("/v1/users/a%2Fb%20c%3Fd%25%2Fhistory/history").json()) == ["i"]
    assert client.delete("/v1/users/a%2Fb%20c%3Fd%25%2Fhistory/history").status_code == 204
    assert items(client.get("/v1/users/a%2Fb%20c%3Fd%25%2Fhistory/history").json()) == []


def test_a_cursor_of_another_user_or_of_nobody_is_refused(client: TestClient):
    for item in "abc":
        tell(client, item, user_id="u")
    cursor = client.get("/v1/users/u/history?limit=1").json()["next_cursor"]
    for path in (f"/v1/users/v/history?cursor={cursor}", f"/v1/sessions/u/history?cursor={cursor}"):
        assert client.get(path).json()["code"] == "invalid_cursor"
    assert client.get("/v1/users/u/history?limit=0").status_code == 422
    assert client.get(f"/v1/users/{'u' * 201}/history").json()["errors"][0]["pointer"] == "/user_id"


def test_the_newest_items_come_oldest_first(client: TestClient, memory: Memory):
    for second, item in enumerate("abcdefg"):
        tell(client, item, second, user_id="u", session_id="s")
    assert items_of_user(memory, PROJECT, "u", 3) == ["e", "f", "g"]
    assert memory.sessions.read(PROJECT, "s").items == list("cdefg")  # session_items is 5
    assert items_of_user(memory, PROJECT, "nobody", 3) == []


def rows(memory: Memory, table: type) -> int:
    with session(memory.engine) as opened:
        return opened.scalar(select(func.count()).select_from(table)) or 0


def test_an_erased_user_is_unknown_in_every_place(client: TestClient, memory: Memory, make_client: MakeClient):
    stranger = make_client("admin", project_id=uuid4())
    tell(stranger, "x", user_id="u", session_id="s")
    tell(client, "before login", session_id="s")
    tell(client, "after login", 1, session_id="s", user_id="u")
    tell(client, "no session", 2, user_id="u")
    tell(client, "on a shared machine", 3, session_id="s", user_id="v")
    tell(client, "elsewhere", session_id="t")
    told = [record(["a"], user_id="u"), record(["a"], session_id="s"), record(["a"], session_id="t")]
    for one in told:
        memory.recorder.record_recommendation(one)
    for one in told:
        sent = client.post("/v1/feedback", json={"request_id": str(one.request_id), "clicks": ["a"]})
        assert sent.status_code == 200
    assert memory.sessions.read(PROJECT, "s").items[0] == "before login"

    assert client.delete("/v1/users/u/history").status_code == 204

    assert items(client.get("/v1/users/u/history").json()) == []
    assert items_of_user(memory, PROJECT, "u", 9) == []
    assert memory.sessions.read(PROJECT, "s").items == ["on a shared machine"]
    assert items(client.get("/v1/users/v/history").json()) == ["on a shared machine"]
    assert items(client.get("/v1/sessions/t/history").json()) == ["elsewhere"]
    assert items(stranger.get("/v1/users/u/history").json()) == ["x"]
    codes = [client.get(f"/v1/recommendations/{one.request_id}/explanation").status_code for one in told]
    assert codes == [404, 404, 200]
    assert (rows(memory, Recommendation), rows(memory, Feedback), rows(memory, UserEvent)) == (1, 2, 3)
    assert client.delete("/v1/users/u/history").status_code == 204


def test_a_user_of_more_sessions_than_a_statement_has_parameters_is_erased(client: TestClient, memory: Memory):
    with transaction(memory.engine) as opened:
        opened.execute(
            text("""
                INSERT INTO user_events (project_id, event_key, user_id, session_id, item_id, type, occurred_at)
                SELECT :project_id, gen_random_uuid(), 'u', 's' || n, 'i', 'view', now()
                FROM generate_series(1, 70000) n
            """),
            {"project_id": PROJECT},
        )
        sessions = repository.erase(opened, PROJECT, Actor("user", "u"))
    assert len(sessions) == 70_000
    assert rows(memory, UserEvent) == 0


def test_a_recommendation_that_waits_to_be_written_is_erased_too(client: TestClient, memory: Memory):
    memory.recorder.record_recommendation(waiting := record(["a"], user_id="u"))
    assert client.delete("/v1/users/u/history").status_code == 204
    assert client.get(f"/v1/recommendations/{waiting.request_id}/explanation").status_code == 404


def test_a_session_is_erased_with_all_who_were_in_it(client: TestClient, memory: Memory):
    tell(client, "a", session_id="s", user_id="u")
    tell(client, "b", 1, session_id="s")
    tell(client, "c", 2, session_id="t", user_id="u")
    memory.recorder.record_recommendation(record(["a"], session_id="s"))
    assert memory.sessions.read(PROJECT, "s").items == ["a", "b"]
    assert client.delete("/v1/sessions/s/history").status_code == 204
    assert memory.sessions.read(PROJECT, "s").items == []
    assert items(client.get("/v1/users/u/history").json()) == ["c"]
    assert rows(memory, Recommendation) == 0


def test_erasing_while_the_cache_is_away_leaves_nothing_in_it(client: TestClient, memory: Memory):
    tell(client, "a", session_id="s", user_id="u")
    assert memory.sessions.read(PROJECT, "s").items == ["a"]
    memory.sessions._away_until = float("inf")
    assert client.delete("/v1/users/u/history").status_code == 204
    memory.sessions._away_until = 0.0
    with redis.Redis.from_url(memory.settings.session_cache_url) as cache:
        assert len(cache.keys()) == 1
        assert memory.sessions.read(PROJECT, "s").items == []
