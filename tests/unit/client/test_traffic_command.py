"""`octavo traffic` and `octavo deploy --traffic`: what they send, and how an A/B test looks."""

import pytest

RATE = {"value": 0.125, "low": 0.1184, "high": 0.132, "count": 1000, "of": 8000}
NONE = {"value": None, "low": None, "high": None, "count": 0, "of": 0}


def deployment(**traffic: float) -> dict:
    return {
        "name": "films", "model": "films-hcrnn", "task": "next-item", "alias": None, "version": 3, "loaded_version": 3,
        "status": "ready", "status_reason": None, "settings": {"traffic": traffic}, "created_at": None,
    }  # fmt: skip


def variant(arm: str, requests: int, rate: dict, **changes: str | None) -> dict:
    rates = {"ctr": rate, "conversion_rate": rate, "hit_rate": rate, "items_shown": 1}
    about = {"deployment": "films", "arm": arm, "variant": "", "model": "films-hcrnn", "stands_in_for": None}
    return {**about, "requests": requests, **rates, **changes}


def test_shares_are_sent_and_said(octavo, gateway):
    gateway.answers["PUT /v1/deployments/films"] = deployment(new=12.5, old=30)
    ended = octavo("traffic", "films", "new=12.5", "old=30%")
    assert ended.lines == ["Requests of films: films 57.5 %, new 12.5 %, old 30 %"]
    octavo("traffic", "films", "--off")
    assert gateway.sent("PUT", "/v1/deployments/films") == [
        {"settings": {"traffic": {"new": 12.5, "old": 30.0}}}, {"settings": {"traffic": {}}}
    ]  # fmt: skip
    gateway.answers |= {"POST /v1/deployments": deployment(new=10), "GET /v1/deployments/films": deployment(new=10)}
    ended = octavo("deploy", "films-hcrnn", "--name", "films", "--traffic", "new=10")
    assert gateway.sent("POST", "/v1/deployments")[0]["settings"] == {"traffic": {"new": 10.0}}
    assert "Requests of films: films 90 %, new 10 %" in ended.lines


def test_each_arm_is_shown_with_what_became_of_its_answers(octavo, gateway):
    gateway.answers |= {
        "GET /v1/deployments/films": deployment(**{"films-new": 30, "third": 1}),
        "GET /v1/feedback/summary": {
            "variants": [
                variant("films", 900, RATE, variant="production"),
                variant("films", 4, NONE, stands_in_for="films-new"),
                variant("films-new", 396, RATE),
            ]
        },
    }
    ended = octavo("traffic", "films", "--days", "7")
    assert dict(gateway.asked[-1].url.params) == {"deployment": "films", "days": "7", "k": "10"}
    lines = [" ".join(line.split()) for line in ended.lines]
    rates = " ".join(["0.125 (0.118-0.132)"] * 3)
    assert lines[0] == "Requests of films: films 69 %, films-new 30 %, third 1 %"
    assert lines[2:] == [
        f"films 69 % films-hcrnn@production 900 {rates}",
        "films, as films-new was not loaded films-hcrnn 4 no feedback no feedback no feedback",
        f"films-new 30 % films-hcrnn 396 {rates}",
        "third 1 % 0",
    ]


@pytest.mark.parametrize("shares", [("new",), ("new=much",), ("new=1", "new=2"), ("new=1", "--off")])
def test_wrong_usage(octavo, gateway, shares: tuple[str, ...]):
    assert octavo("traffic", "films", *shares).code == 2
    assert gateway.asked == []
