"""`octavo events`, `history` and `feedback`: what they send, and where a wrong line of a file is."""

import json
from pathlib import Path

import httpx2
import pytest

from libs.client.cli import users

TAKEN = {"accepted": 2, "duplicates": 1}
EVENT = {"item_id": "f1", "user_id": "u"}
PAST = {"item_id": "f1", "type": "view", "timestamp": "2026-01-31T12:00:00Z", "user_id": "u", "session_id": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "events.ndjson"
    made.write_text("".join(f"{json.dumps({**EVENT, 'event_id': str(n)})}\n\n" for n in range(5)))
    return made


def test_the_events_of_a_file_are_sent_some_at_a_time(octavo, gateway, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users, "_AT_ONCE", 2)
    gateway.answers["POST /v1/events"] = TAKEN
    ended = octavo("events", file)
    sent = gateway.sent("POST", "/v1/events")
    assert [[event["event_id"] for event in part] for part in sent] == [["0", "1"], ["2", "3"], ["4"]]
    assert ended.lines == ["6 events stored, 3 were there before"]


def test_a_wrong_event_is_told_by_its_line_and_what_is_stored_is_said(
    octavo, gateway, file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(users, "_AT_ONCE", 2)
    errors = [{"pointer": "/1/item_id", "message": "An id is text.", "location": "body"}]
    refused = httpx2.Response(422, json={"code": "invalid_request", "detail": "1.item_id: An id …", "errors": errors})
    gateway.answers["POST /v1/events"] = [TAKEN, refused]
    ended = octavo("events", file)
    assert ended.code == 4
    assert f"{file}, line 7, item_id: An id is text. The 3 events sent before are stored." in ended.err


def test_a_line_that_is_no_json_is_refused(octavo, gateway, file: Path):
    file.write_text("f1,u\n")
    ended = octavo("events", file)
    assert (ended.code, "not one JSON object a line" in ended.err, gateway.asked) == (1, True, [])


def test_items_are_told_of_a_session(octavo, gateway):
    gateway.answers["POST /v1/events"] = TAKEN
    octavo("events", "--items", "f1,f2", "--session", "s", "--type", "play")
    (sent,) = gateway.sent("POST", "/v1/events")
    assert [(one["item_id"], one["session_id"], one["type"]) for one in sent] == [
        ("f1", "s", "play"), ("f2", "s", "play")
    ]  # fmt: skip
    assert len({one["event_id"] for one in sent}) == 2


def test_a_history_is_shown_and_erased_whatever_is_in_the_id(octavo, gateway):
    address = "/v1/users/a%2Fb%3F%25/history"
    gateway.otherwise = lambda one: (
        httpx2.Response(204) if one.method == "DELETE" else httpx2.Response(200, json={"items": [PAST, PAST]})
    )
    shown = octavo("history", "--user", "a/b?%", "--limit", "1")
    erased = octavo("history", "--user", "a/b?%", "--erase", "--yes")
    assert [(one.method, one.url.raw_path.decode()) for one in gateway.asked] == [
        ("GET", address), ("DELETE", address)
    ]  # fmt: skip
    assert [line.split()[:3] for line in shown.lines[1:]] == [["2026-01-31T12:00:00Z", "view", "f1"]]
    assert erased.lines == ["Erased: a/b?%"]


def test_what_became_of_an_answer_is_told(octavo, gateway):
    gateway.answers["POST /v1/feedback"] = {"recorded": 3, "duplicates": 0}
    ended = octavo("feedback", "r", "--shown", "f1,f2", "--clicked", "f1")
    assert gateway.sent("POST", "/v1/feedback") == [
        {"request_id": "r", "impressions": ["f1", "f2"], "clicks": ["f1"], "conversions": []}
    ]
    assert ended.lines == ["3 recorded, 0 were known before"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("events",),
        ("events", "--items", "f1"),
        ("events", "nowhere.ndjson"),
        ("history",),
        ("history", "--user", "u", "--session", "s"),
        ("feedback", "r"),
    ],
)
def test_wrong_usage(octavo, gateway, wrong: tuple[str, ...]):
    assert octavo(*wrong).code == 2
    assert gateway.asked == []
