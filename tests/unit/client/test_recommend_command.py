"""`octavo recommend`: what it sends, and how the answer looks."""

import pytest
import typer

from libs.client.cli.recommend import parse_filters

WHY = {"item_id": "f4", "users_together": 12, "similarity": 0.5}
ITEMS = [
    {"item_id": "f9", "score": 7.3123, "rank": 1, "reasons": [WHY]},
    {"item_id": "f2", "score": 6.9, "rank": 2},
]
ANSWER = {
    "request_id": "r",
    "model": "films-hcrnn",
    "version": 3,
    "strategy": "model",
    "unknown_items": 1,
    "items": ITEMS,
}


@pytest.fixture
def films(gateway):
    gateway.answers["POST /v1/recommendations"] = ANSWER
    return gateway


def test_a_history_is_sent_and_the_answer_shown(octavo, films):
    filters = ("--filter", "genre=comedy, drama", "--filter", "price<=10")
    ended = octavo("recommend", "films", "--items", "f17,f4", "-k", "2", "--explain", "basic", *filters)
    assert films.sent("POST", "/v1/recommendations") == [
        {
            "model": "films", "items": ["f17", "f4"], "k": 2, "explain": "basic",
            "filters": {"genre": {"in": ["comedy", "drama"]}, "price": {"<=": 10.0}},
        }
    ]  # fmt: skip
    assert ended.lines[0] == "films-hcrnn@3 · answered by: model, 1 unknown item left out"
    assert ended.lines[-1] == "What becomes of it: octavo feedback r --clicked ITEM"
    assert [line.split() for line in ended.lines[1:-1]] == [
        ["rank", "item", "score", "because", "of"],
        ["1", "f9", "7.312", "f4", "(12", "users", "had", "both)"],
        ["2", "f2", "6.9"],
    ]


def test_a_user_or_a_session_is_asked_for(octavo, films):
    octavo("recommend", "films", "--user", "u1")
    ended = octavo("recommend", "films", "--session", "s1", "--json")
    assert [(one.get("user_id"), one.get("session_id")) for one in films.sent("POST", "/v1/recommendations")] == [
        ("u1", None), (None, "s1")
    ]  # fmt: skip
    assert '"strategy": "model"' in ended.out


def test_what_a_session_has_just_seen_is_brought_along(octavo, films):
    octavo("recommend", "films", "--session", "s1", "--append", "f17, f4")
    (sent,) = films.sent("POST", "/v1/recommendations")
    assert sent["session_id"] == "s1"
    assert [event["item_id"] for event in sent["append"]] == ["f17", "f4"]
    assert len({event["event_id"] for event in sent["append"]}) == 2


def test_what_else_a_request_may_say(octavo, films):
    films.answers["POST /v1/recommendations"] = {
        **ANSWER,
        "explanation": {"history": ["f4"], "tensors": {"drift": [1]}},
    }
    options = ("--exclude", "a,b", "--seen", "--diversity", "0.5", "--fallback", "error", "--explain", "full")
    ended = octavo("recommend", "films", "--items", "f4", *options)
    assert films.sent("POST", "/v1/recommendations") == [
        {
            "model": "films", "items": ["f4"], "k": 10, "explain": "full", "exclude_items": ["a", "b"],
            "exclude_seen": False, "diversity": 0.5, "fallback": "error",
        }
    ]  # fmt: skip
    assert "The model tells more, with --json: drift" in ended.lines


def test_items_like_one(octavo, gateway):
    gateway.answers["POST /v1/similar"] = {"model": "films-hcrnn", "version": 3, "strategy": "similar", "items": ITEMS}
    ended = octavo("similar", "films", "f17", "-k", "2", "--filter", "price<=10")
    assert gateway.sent("POST", "/v1/similar") == [
        {"model": "films", "item_id": "f17", "k": 2, "filters": {"price": {"<=": 10.0}}}
    ]
    assert ended.lines[0] == "films-hcrnn@3 · answered by: similar"
    assert len(ended.lines) == 4


def test_what_features_alone_tell_of(octavo, films):
    why = {"item_id": "f4", "users_together": 0, "similarity": 0.5, "features": {"genre": 1.0, "year": 0.25}}
    items = [{**ITEMS[1], "reasons": [why]}]
    films.answers["POST /v1/recommendations"] = {**ANSWER, "strategy": "similar", "items": items}
    films.answers["POST /v1/similar"] = {**ANSWER, "strategy": "similar", "by": "features", "unknown_items": None}
    ended = octavo("recommend", "films", "--items", "f4", "--explain", "basic")
    assert "fallback" not in films.sent("POST", "/v1/recommendations")[0]
    assert ended.lines[0] == "films-hcrnn@3 · answered by: similar, 1 unknown item left out"
    assert ended.lines[2].split("6.9")[1].strip() == "f4 (alike in genre, year)"
    assert octavo("similar", "films", "f4").lines[0] == "films-hcrnn@3 · answered by: similar, by features"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "u", "--items", "a"),
        ("--items", "a", "--filter", "price<cheap"),
        ("--items", "a", "--append", "b"),
    ],
)
def test_wrong_usage(octavo, films, options: tuple[str, ...]):
    assert octavo("recommend", "films", *options).code == 2
    assert films.asked == []


def test_conditions_as_the_api_takes_them():
    texts = ["price>5", "price <= 10", "genre!=horror", 'code="17",x', "year=1990"]
    assert parse_filters(texts) == {
        "price": {">": 5.0, "<=": 10.0},
        "genre": {"not_in": ["horror"]},
        "code": {"in": ["17", "x"]},
        "year": {"in": [1990.0]},
    }
    assert parse_filters(["genre=a,b", "genre=c", "genre!=d", "genre!=nan"]) == {
        "genre": {"in": ["a", "b", "c"], "not_in": ["d", "nan"]}
    }
    assert parse_filters(["genres~comedy, 17", 'genres ~ "a"', "genres!~horror"]) == {
        "genres": {"has": ["comedy", "17", "a"], "has_not": ["horror"]}
    }
    for wrong, why in ((["price<1", "price<2"], "another <"), (["price<inf"], "no number")):
        with pytest.raises(typer.BadParameter, match=why):
            parse_filters(wrong)
    with pytest.raises(typer.BadParameter, match="write genre=comedy"):
        parse_filters(["genre"])
