"""POST /v1/events: what is taken, what is refused and where it is wrong, and that nothing counts twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from libs.database.engine import session, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Project, UserEvent
from services.recommender.events.service import ingest
from services.recommender.history.service import items_of_user
from services.recommender.memory import Memory
from tests.integration.recommender_memory.conftest import MakeClient

NDJSON = {"Content-Type": "application/x-ndjson"}


def event(item: str = "i", **changes: object) -> dict[str, object]:
    return {"item_id": item, "session_id": "s", **changes}


def stored(engine: Engine) -> int:
    with session(engine) as opened:
        return opened.scalar(select(func.count()).select_from(UserEvent)) or 0


def lines(*events: dict[str, object]) -> str:
    return "".join(json.dumps(one) + "\n" for one in events)


def test_one_event_a_list_and_lines_are_taken(client: TestClient, engine: Engine):
    assert client.post("/v1/events", json=event("a")).json() == {"accepted": 1, "duplicates": 0}
    assert client.post("/v1/events", json=[event("b"), event("c")]).json() == {"accepted": 2, "duplicates": 0}
    body = lines(event("d"), event("e")) + "\n  \n"
    assert client.post("/v1/events", content=body, headers=NDJSON).json() == {"accepted": 2, "duplicates": 0}
    assert stored(engine) == 5
    page = client.get("/v1/sessions/s/history").json()["items"]
    assert [one["item_id"] for one in page] == ["e", "d", "c", "b", "a"]


def test_an_event_counts_once_however_often_it_is_sent(client: TestClient, make_client: MakeClient, engine: Engine):
    first = [event("a", event_id="1"), event("b", event_id="2"), event("a", event_id="1")]
    assert client.post("/v1/events", json=first).json() == {"accepted": 2, "duplicates": 1}
    again = [event("x", event_id="2"), event("c", event_id="3")]
    assert client.post("/v1/events", json=again).json() == {"accepted": 1, "duplicates": 1}
    assert [one["item_id"] for one in client.get("/v1/sessions/s/history").json()["items"]] == ["c", "b", "a"]
    other = make_client("admin", project_id=uuid4())
    assert other.post("/v1/events", json=first).json() == {"accepted": 2, "duplicates": 1}
    assert stored(engine) == 5


FUTURE = (datetime.now(UTC) + timedelta(days=1)).isoformat()
WRONG = {
    "no item": ({"session_id": "s"}, "/item_id", "required"),
    "nobody": ({"item_id": "i"}, "", "user_id, session_id or both"),
    "number as item": (event(7), "/item_id", "An id is text"),
    "NaN as item": ('{"item_id": NaN, "session_id": "s"}', "/item_id", "An id is text"),
    "long item": (event("i" * 201), "/item_id", "200"),
    "empty item": (event(""), "/item_id", "1 to 200"),
    "control character": (event("a\nb"), "/item_id", "control characters"),
    "NUL in user": (event(user_id="\0"), "/user_id", "control characters"),
    "unknown field": (event(sesion="s"), "/sesion", "session_id"),
    "future": (event(timestamp=FUTURE), "/timestamp", "future"),
    "before computers": (event(timestamp="1969-12-31T23:59:59Z"), "/timestamp", "1970"),
    "no offset": (event(timestamp="2026-01-01T00:00:00"), "/timestamp", "offset from UTC"),
    "number as time": (event(timestamp=1_700_000_000), "/timestamp", "ISO 8601"),
    "number in quotes as time": (event(timestamp="1700000000000"), "/timestamp", "ISO 8601"),
    "type in capitals": (event(type="View"), "/type", "a-z"),
    "half a surrogate": ('{"item_id": "\\ud800", "session_id": "s"}', "", "JSON"),
    "no object": ("7", "", "object"),
    "half an object": ('{"item_id": ', "", "JSON"),
}


def test_a_wrong_event_is_refused_where_it_is_wrong_and_nothing_is_stored(client: TestClient, engine: Engine):
    good, in_json = json.dumps(event("good")), {"Content-Type": "application/json"}
    for sent, (wrong, pointer, message) in WRONG.items():
        text = wrong if isinstance(wrong, str) else json.dumps(wrong)
        one = client.post("/v1/events", content=text, headers=in_json)
        many = client.post("/v1/events", content=f"[{good},{text},{good}]", headers=in_json)
        by_line = client.post("/v1/events", content=f"{good}\n\n{text}\n{good}\n", headers=NDJSON)
        for answer, row in ((one, ""), (many, "/1"), (by_line, "/2")):
            assert answer.status_code == 422, answer.text
            errors = answer.json()["errors"]
            is_syntax = message == "JSON" and answer is many  # the list as a whole is no JSON
            assert errors[0]["pointer"] == ("" if is_syntax else row + pointer), sent
            assert message in errors[0]["message"], sent
    assert stored(engine) == 0


def test_a_clock_that_is_a_little_ahead_is_taken(client: TestClient):
    soon = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    assert client.post("/v1/events", json=event(timestamp=soon)).status_code == 200


def test_limits_of_rows_bytes_and_kinds(client: TestClient, engine: Engine):
    many = [event("i")] * 51
    assert client.post("/v1/events", json=many[:50]).json()["accepted"] == 50
    for answer in (
        client.post("/v1/events", json=many),
        client.post("/v1/events", json=[*many, {"not": "read"}]),
        client.post("/v1/events", content=lines(*many), headers=NDJSON),
        client.post("/v1/events", content=b" " * 20_001, headers=NDJSON),
        client.post("/v1/events", content=(b" " * 1000 for _ in range(21)), headers=NDJSON),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert client.post("/v1/events", content="item_id\n", headers={"Content-Type": "text/csv"}).status_code == 415
    assert client.post("/v1/events", content="", headers=NDJSON).json()["code"] == "empty_body"
    assert client.post("/v1/events", json=[]).status_code == 422
    assert client.post("/v1/events", content="\n\n", headers=NDJSON).status_code == 422
    flood = "{" + ",".join(f'"a{n}":1' for n in range(1500)) + "}"
    refused = client.post("/v1/events", content=flood, headers={"Content-Type": "application/json"})
    assert len(refused.content) < 1000
    assert stored(engine) == 50


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/events", "events:write"),
        ("POST", "/v1/feedback", "events:write"),
        ("GET", "/v1/users/u/history", "events:read"),
        ("GET", "/v1/sessions/s/history", "events:read"),
        ("GET", "/v1/feedback/summary?model=m", "events:read"),
        ("GET", f"/v1/recommendations/{UUID(int=7)}/explanation", "events:read"),
        ("DELETE", "/v1/users/u/history", "events:erase"),
        ("DELETE", "/v1/sessions/s/history", "events:erase"),
    ],
)
def test_every_route_wants_its_scope(make_client: MakeClient, method: str, path: str, scope: str):
    scopes = {"events:write", "events:read", "events:erase", "infer"}
    body = {"json": event()} if method == "POST" else {}
    assert make_client(*(scopes - {scope})).request(method, path, **body).status_code == 403
    assert make_client(scope).request(method, path, **body).status_code != 403


def test_the_same_events_sent_at_once_in_other_orders_count_once(memory: Memory, engine: Engine):
    """Postgres sees two transactions that wait for each other's keys; it ends one, and that one is done again."""
    events = [event(f"i{n}", event_id=str(n)) for n in range(40)]
    bodies = [json.dumps(order).encode() for order in (events, events[::-1]) * 4]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: ingest(memory, DEFAULT_PROJECT_ID, body, "application/json"), bodies))
    assert sum(answer.accepted for answer in answers) == 40
    assert sum(answer.duplicates for answer in answers) == 7 * 40
    assert stored(engine) == 40


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=6), min_size=1, max_size=5
    )
)
def test_however_events_are_cut_and_repeated_the_history_is_that_of_the_first_of_each(
    memory: Memory, engine: Engine, batches: list[list[tuple[int, int]]]
):
    project_id = uuid4()
    with transaction(engine) as opened:
        opened.add(Project(id=project_id, name=project_id.hex))
    first: dict[int, tuple[int, str]] = {}
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for number, batch in enumerate(batches):
        known, body = len(first), []
        for place, (event_id, second) in enumerate(batch):
            item = f"{number}.{place}"
            first.setdefault(event_id, (second, item))
            at = (begin + timedelta(seconds=second)).isoformat()
            body.append(event(item, user_id="u", event_id=str(event_id), timestamp=at))
        answer = ingest(memory, project_id, json.dumps(body).encode(), "application/json")
        assert (answer.accepted, answer.duplicates) == (len(first) - known, len(batch) - len(first) + known)
    expected = [item for _, item in sorted(first.values(), key=lambda one: one[0])]
    assert items_of_user(memory, project_id, "u", 100) == expected
    assert memory.sessions.read(project_id, "s").items == expected[-5:]
