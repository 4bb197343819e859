"""Data sets of events on the command line: what is sent, and what is shown."""

import tarfile
from io import BytesIO

import httpx2
import pytest

MANIFEST = {
    "kind": "events", "users": 1200, "items": 30, "events": 45_000, "types": {"view": 45_000},
    "first_time": "2001-09-09T01:46:40Z", "last_time": "2002-09-09T01:46:40Z",
    "split": {"protocol": "leave-last-out"},
    "splits": {"train": {"events": 42_600, "users": 1200}, "test": {"events": 1200, "users": 1200}},
    "item_features": [{"name": "price", "type": "number"}], "digest": "d1", "size_bytes": 99,
}  # fmt: skip
REPORT = {
    **MANIFEST, "upload": {"name": "events.csv", "in_place": False, "public": False, "size_bytes": 2048},
    "files": [{"name": "events.csv", "columns": {"user": "user_id", "item": "item_id", "time": "ts"}}],
    "rows": 45_003, "bad_rows": {"missing-user": 3},
    "events_per_user": {"min": 3.0, "median": 30.0, "max": 99.0},
    "training_events_per_item": {"min": 1.0, "median": 900.0, "max": 9000.0},
    "popularity_gini": 0.51234, "events_per_cell": 1.25,
    "preview": [{"user": "u1", "item": "i1", "time": "2001-09-09T01:46:40Z", "type": "view"}],
    "problem_counts": {}, "problems": [],
}  # fmt: skip
SUMMARY = {name: MANIFEST[name] for name in ("users", "items", "events")} | {"protocol": "leave-last-out"}
VERSION = {"dataset": "shop", "version": 1, "status": "ready", "size_bytes": 99, "validation_job_id": "v1"}
SCHEMA = {
    "properties": {"events": {"$ref": "#/$defs/EventOptions"}},
    "$defs": {
        "EventOptions": {
            "properties": {
                "min_item_events": {"type": "integer", "minimum": 1},
                "split": {"enum": ["leave-last-out", "by-user"], "type": "string"},
            }
        }
    },
}


@pytest.fixture
def shop(gateway):
    gateway.answers |= {
        "POST /v1/datasets": {**VERSION, "status": "uploading"},
        "HEAD /v1/datasets/shop/versions/1/upload": httpx2.Response(200, headers={"Upload-Offset": "0"}),
        "POST /v1/datasets/shop/versions/1/complete": VERSION,
        "GET /v1/datasets": {"items": [{"id": "d", "name": "shop", "latest": {**VERSION, "summary": SUMMARY}}]},
        "GET /v1/datasets/shop": {"latest": {**VERSION, "summary": SUMMARY}},
        "GET /v1/datasets/shop/versions/1/report": {"report": REPORT},
        "GET /v1/methods/validate-dataset": {"name": "validate-dataset", "kind": "task", "config_schema": SCHEMA},
    }
    return gateway


def test_a_data_set_of_events_is_shown(octavo, shop):
    lines = octavo("datasets", "show", "shop").lines
    assert lines[0] == "shop@1 is ready  1,200 users, 30 items, 45,000 events, split leave-last-out, 99 B"
    shown = "\n".join(lines)
    assert "45,003, 3 of them left out" in shown
    assert "45,000 of 1,200 users with 30 items" in shown
    assert "events.csv: user user_id, item item_id, time ts" in shown
    assert "price (number)" in shown
    assert "Gini 0.512" in shown
    assert lines[-1].split() == ["u1", "i1", "2001-09-09T01:46:40Z", "view"]


def test_what_was_to_be_fetched_is_shown_by_its_name(octavo, shop):
    problem = {"severity": "error", "code": "public", "message": "shop.zip is not the file that was published"}
    upload = {"upload": {"name": "public-shop", "in_place": False, "public": True}}
    shop.answers["GET /v1/datasets/shop"] = {"latest": {**VERSION, "status": "invalid"}}
    shop.answers["GET /v1/datasets/shop/versions/1/report"] = {"report": {**upload, "problems": [problem]}}
    lines = octavo("datasets", "show", "shop").lines
    assert "shop.zip is not the file that was published" in lines[1]
    assert lines[2].split() == ["source", "public-shop", "(public,", "fetched", "by", "the", "platform)"]


def test_the_list_says_how_many_events(octavo, shop):
    assert "45,000 events" in octavo("datasets", "ls").out


def test_events_and_their_items_travel_as_one_tar(octavo, shop, tmp_path):
    for name, content in (("e.csv", "user,item,time\n"), ("items.csv", "item,price\n")):
        (tmp_path / name).write_text(content)
    received = bytearray()

    def take(request):
        received.extend(request.content)
        return httpx2.Response(204, headers={"Upload-Offset": str(len(received))})

    shop.answers["PATCH /v1/datasets/shop/versions/1/upload"] = take
    settings = ["--set", "split=by-user", "--set", "min_item_events=5", "--val", "0.2"]
    files = ["--events", tmp_path / "e.csv", "--item-features", tmp_path / "items.csv"]
    ended = octavo("datasets", "create", "shop", *files, *settings, "--no-wait")
    assert (ended.code, ended.err) == (0, "")
    assert shop.sent("POST", "/v1/datasets") == [
        {
            "name": "shop",
            "source": {"upload": "e.csv.tar"},
            "validation": {"val_fraction": 0.2, "kind": "events", "events": {"split": "by-user", "min_item_events": 5}},
        }
    ]
    with tarfile.open(fileobj=BytesIO(bytes(received))) as archive:
        assert archive.getnames() == ["e.csv", "items.csv"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--item-features", "items.csv", "--images", "a.zip"], "--item-features belongs to --events"),
        (["--images", "a.zip", "--events", "e.csv"], "Give one of --images, --npz, --events, --from-events"),
        (["--events", "e.csv", "--since", "3"], "--since and --base belong to --from-events"),
        (["--events", "e.csv", "--set", "min_item_event=3"], "Did you mean min_item_events"),
        (["--events", "e.csv", "--set", "min_item_events=0"], "min_item_events=0"),
    ],
)
def test_options_that_do_not_fit(octavo, shop, arguments, says):
    ended = octavo("datasets", "create", "shop", *arguments)
    assert ended.code == 2
    assert says in ended.err


def test_recorded_events_need_no_file(octavo, shop):
    ended = octavo("datasets", "create", "shop", "--from-events", "--since", "30", "--base", "clicks", "--no-wait")
    assert (ended.code, ended.err) == (0, "")
    source = {"recorded": {"since_days": 30, "base": "clicks"}}
    validation = {"kind": "events", "events": {}}
    assert shop.sent("POST", "/v1/datasets") == [{"name": "shop", "source": source, "validation": validation}]
