"""From an upload of events to a validated folder."""

import gzip
import io
import json
import zipfile
from collections import namedtuple
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from libs.data.config import EventOptions
from libs.data.errors import DiskFullError, InvalidDatasetError
from libs.data.events.dataset import open_event_data
from libs.data.images import open_images
from libs.serving.recommendation.engine import recommend
from libs.serving.recommendation.model import load
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from libs.training.run import Stopped
from tests.support.recommenders import IDENTITY, make_recommender

HEADER = "user_id,item_id,timestamp\n"


def table(users=6, items=5, length=6, header=HEADER):
    """Every user meets the items in turn, one a minute from 2001 on."""
    rows = [
        f"u{user},i{(user + step) % items},{1_000_000_000 + 60 * step}"
        for step in range(length)
        for user in range(users)
    ]
    return header + "\n".join(rows) + "\n"


@pytest.fixture
def events_of(upload, validated):
    """Validate a table; the data set and its report."""

    def run(content, name="events.csv", **options):
        content = content.encode() if isinstance(content, str) else content
        shared = {key: options.pop(key) for key in ("val_fraction", "test_fraction", "split_seed") if key in options}
        outcome = validated(upload(content, name), events=options, **shared)
        return open_event_data(outcome.dataset), outcome.details["report"]

    return run


@pytest.fixture
def problems_of(upload, validated):
    """Validate a table that is invalid; its problems by code."""

    def run(content, name="events.csv", **options):
        content = content.encode() if isinstance(content, str) else content
        with pytest.raises(InvalidDatasetError) as error:
            validated(upload(content, name), events=options)
        return {problem["code"]: problem for problem in error.value.problems}

    return run


def by_code(report):
    return {problem["code"]: problem for problem in report["problems"]}


def test_a_table_becomes_a_data_set(events_of):
    data, report = events_of(table())
    manifest = data.manifest
    assert (manifest.users, manifest.items, manifest.events) == (6, 5, 36)
    assert manifest.first_time.isoformat() == "2001-09-09T01:46:40+00:00"
    assert {name: counts.events for name, counts in manifest.splits.items()} == {"train": 24, "val": 6, "test": 6}
    first = slice(*data.events.offsets[:2])
    assert data.items.ids(data.events.items[first]) == ["i0", "i1", "i2", "i3", "i4", "i0"]
    assert np.diff(data.events.times[first]).tolist() == [60_000_000] * 5
    assert data.users.numbers(["u0", "nobody", "u5"]).tolist() == [0, -1, 5]
    assert report["preview"][0] == {"user": "u0", "item": "i0", "time": "2001-09-09T01:46:40+00:00", "type": None}
    assert report["leakage"]["events_out_of_order"] == 0
    assert report["rows"] == 36
    assert report["bad_rows"] == {}
    assert "no-sequences" not in by_code(report)


def test_items_are_numbered_by_training_events(events_of):
    rows = ["a,rare,1000000000", "a,often,1000000001", "b,often,1000000002", "b,other,1000000003"]
    data, _ = events_of(HEADER + "\n".join(rows))
    assert data.items.all_ids() == ["often", "other", "rare"]
    assert data.events.training_counts().tolist() == [0, 2, 1, 1]


def test_the_same_events_have_the_same_digest_in_any_format_and_order(events_of, tmp_path):
    plain, _ = events_of(table())
    header, *rows = table().splitlines()
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    one = (header, *shuffled)
    frame = pl.read_csv(table().encode()).rename({"timestamp": "time"})
    frame = frame.with_columns(pl.from_epoch("time", time_unit="s"))
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    iso = frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv()
    millis = table().replace("\n", "000\n").replace("timestamp000", "timestamp")
    others = {
        "shuffled.csv": "\n".join(one),
        "events.tsv": table().replace(",", "\t"),
        "events.csv.gz": gzip.compress(table().encode()),
        "events.parquet": parquet.getvalue(),
        "iso.csv": iso,
        "millis.csv": millis,
        "dos.csv": table().replace("\n", "\r\n"),
        "mark.csv": b"\xef\xbb\xbf" + table().encode(),
    }
    for name, content in others.items():
        (tmp_path / "run").rename(tmp_path / f"run before {name}")
        (tmp_path / "run").mkdir()
        again, _ = events_of(content, name)
        assert again.manifest.digest == plain.manifest.digest, name


def test_events_and_item_features_in_an_archive(upload, validated):
    content = io.BytesIO()
    features = "item,price,genre,text\ni0,1.5,a,an apple\ni1,NaN,a,a boat\ni2,3,b,a car\ni9,4,b,a dog\n"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("shop/part-1.csv", table(users=3))
        archive.writestr("shop/part-2.csv", table(users=6).replace("u0", "v0").replace("u1", "v1").replace("u2", "v2"))
        archive.writestr("shop/items.csv", features)
        archive.writestr("shop/users.csv", "user_id,age\nu0,7\n")
        archive.writestr("README.md", "nothing")
    outcome = validated(upload(content.getvalue(), "shop.zip"))
    data, report = open_event_data(outcome.dataset), outcome.details["report"]
    assert data.manifest.users == 9
    assert [(feature.name, feature.type) for feature in data.manifest.item_features] == [
        ("price", "number"),
        ("genre", "category"),
        ("text", "text"),
    ]
    frame = data.items.features(["id", "price"]).sort("id")
    assert frame.rows() == [("i0", 1.5), ("i1", None), ("i2", 3.0), ("i3", None), ("i4", None)]
    assert data.new_items is not None
    assert pl.read_parquet(data.new_items).rows() == [("i9", 4.0, "b", "a dog")]
    assert (report["item_table"]["items"], report["item_table"]["new_items"]) == (3, 1)
    found = by_code(report)
    assert "1 items" in found["not-finite"]["message"]
    assert "the first in line 3;" in found["not-finite"]["message"]
    assert (found["not-finite"]["column"], found["not-finite"]["row"]) == ("price", 1)
    assert found["item-without-features"]["message"].startswith("2 of 5")
    assert report["ignored"] == {"other endings": 1, "neither events nor items": 1}


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"min_item_events": 3}, "rare"),
        ({"core": "fixpoint", "min_item_events": 3}, "rare"),
        ({"cold_items": "drop"}, "late"),
        ({"types": ["view"]}, "bought"),
    ],
)
def test_a_described_item_that_was_filtered_out_is_kept_as_new_and_answered(upload, validated, tmp_path, options, gone):
    content = io.BytesIO()
    events = table(header="user_id,item_id,timestamp,event_type\n").splitlines()
    rows = [*(f"{row},view" for row in events[1:]), "u0,rare,999999000,view", "u1,bought,999999000,buy"]
    rows += ["u0,late,1000009000,view"] * (options == {"cold_items": "drop"})
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("events.csv", "\n".join([events[0], *rows]))
        archive.writestr("items.csv", "item,category\ni0,a\ni1,b\ni2,a\ni3,b\ni4,a\n" + f"{gone},b\n")
    data = open_event_data(validated(upload(content.getvalue(), "shop.zip"), events=options).dataset)
    assert gone not in data.items.all_ids()
    assert data.new_items is not None
    new = pl.read_parquet(data.new_items)
    assert new.rows() == [(gone, "b")]
    make_recommender(
        tmp_path / "bundle",
        items=2,
        features={"category": ["a", "b"]},
        new_items={"id": new["id"], "category": new["category"]},
    )
    answer = recommend(load(tmp_path / "bundle", IDENTITY, RunSettings()), RecommendationRequest([gone], k=1))
    assert (answer.strategy, answer.items[0].id) == ("similar", "i2")


def test_a_word_that_makes_text_of_a_price_is_named(upload, validated):
    content = io.BytesIO()
    rows = [
        "i8,soon,9,1",
        "i0,1.5,38,1",
        "i1,free,L,2|3",
        "i2,,M,3",
        "i2,sold,,",
        "i3,3,40,1",
        "i4,ask,XL,3",
        "i5,4,7,3",
    ]
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("events.csv", table(items=6))
        archive.writestr("items.csv", "item,price,size,tags\n" + "\n".join(rows))
    outcome = validated(upload(content.getvalue(), "shop.zip"))
    listed = outcome.details["report"]["problems"]
    (found,) = [problem for problem in listed if problem["code"] == "words-among-numbers"]
    assert found == {
        "severity": "warning",
        "code": "words-among-numbers",
        "message": "The item feature 'price' of 'items.csv' is read as text: 2 of 5 values are no numbers, the first "
        "in line 4 ('free'). Filters such as price<=10 are refused then. Write a number there, or leave the cell "
        "empty, which counts as missing.",
        "file": "items.csv",
        "row": 2,
        "column": "price",
    }
    types = {one.name: one.type for one in open_event_data(outcome.dataset).manifest.item_features}
    assert types == {"price": "text", "size": "text", "tags": "category"}


def test_a_table_of_items_without_rows_is_named(upload, validated):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("events.csv", table())
        archive.writestr("items.csv", "item,price\n")
    with pytest.raises(InvalidDatasetError, match=r"'items.csv' has no rows"):
        validated(upload(content.getvalue(), "shop.zip"))


def test_events_without_anything_to_follow_are_told(events_of):
    _, report = events_of(table(length=1))
    assert "two training events" in by_code(report)["no-sequences"]["message"]


def test_one_bad_row_is_left_out_and_named(events_of):
    lines = table(users=40).splitlines()
    lines[100] = "u3,i1,yesterday"
    data, report = events_of("\n".join(lines))
    bad = by_code(report)["unreadable-time"]
    assert bad["row"] == 99
    assert bad["message"] == (
        "Line 101 of 'events.csv' has a time that cannot be read, or not of the years 1900 to 2199."
    )
    assert data.manifest.events == 239
    assert report["bad_rows"] == {"unreadable-time": 1}


def test_rows_are_counted_over_blocks(tmp_path):
    from libs.data.archives import ArchiveLimits
    from libs.data.events.reading import Table

    lines = table(users=50).splitlines()
    lines[200] = ",i1,1000000000"
    lines[120] = '"a,\n""quoted""",i1,1000000000'
    path = tmp_path / "events.csv"
    path.write_text("\n".join(lines))
    found = Table(path, "events.csv", EventOptions(), ArchiveLimits(), block_bytes=64)
    batches = list(found.events(2 * 10**15, lambda fraction: None))
    rows = pl.concat([batch.rows for batch in batches])
    assert len(batches) > 50
    assert rows["row"].to_list() == list(range(300))
    assert rows.filter(pl.col("wrong").is_not_null()).select("row", "wrong").rows() == [(199, "missing-user")]
    assert rows["user"][119] == 'a,\n"quoted"'


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (",i,1000000000", "missing-user"),
        ("u,,1000000000", "missing-item"),
        ("u,i,", "missing-time"),
        ("u,i", "missing-time"),
        ("u,i,soon", "unreadable-time"),
        ("u,i,nan", "unreadable-time"),
        ("u,i,1e300", "unreadable-time"),
        ("u,i,1000000000000", "unreadable-time"),
        ("u,i,4102444800", "future-time"),
        ("u" * 513 + ",i,1000000000", "long-id"),
        ("u\udcff,i,1000000000", "not-utf8"),
    ],
)
def test_what_a_row_can_have_wrong(problems_of, recording_run, row, code):
    content = (table() + row + "\n").encode("utf-8", "surrogateescape")
    found = problems_of(content, max_bad_fraction=0)
    assert list(found) == ["too-many-bad-rows"]
    assert "1 of 37 rows" in found["too-many-bad-rows"]["message"]
    report = json.loads((recording_run.folder / "report.json").read_text())
    assert report["problem_counts"][code] == 1
    assert by_code(report)[code]["row"] == 36


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (HEADER, "no-events", "no rows"),
        ("", "archive", "empty"),
        ("\n", "broken-table", "empty"),
        ("who,what,when\na,b,1\n", "missing-column", "user_column and item_column and time_column"),
        ("user,item\na,b\n", "missing-column", "no column for time"),
        ("user,item,time,time\na,b,1,2\n", "broken-table", "two columns called 'time'"),
        (b"user,item,time\0\n", "broken-table", "no text"),
        (HEADER.encode("utf-16"), "broken-table", "UTF-16"),
        (gzip.compress(table().encode())[:-20], "broken-table", "cut off"),
    ],
)
def test_what_is_no_table_of_events(problems_of, content, code, says):
    found = problems_of(content)
    assert says in found[code]["message"]


def test_options_that_fit_nothing(problems_of):
    assert "no column 'buyer'" in problems_of(table(), user_column="buyer")["missing-column"]["message"]


def test_one_column_cannot_be_two_things(problems_of):
    with pytest.raises(ValidationError, match="'user' is named twice"):
        EventOptions(user_column="user", item_column="user")
    found = problems_of(table(header="User,item,time\n"), user_column="User", item_column="user")
    assert "named as user_column and as item_column" in found["broken-table"]["message"]


def test_what_the_options_name_is_nothing_else(events_of):
    data, _ = events_of(table(header="user,event,time\n"), item_column="event")
    assert (data.manifest.items, data.manifest.types) == (5, {})


@pytest.mark.parametrize(
    ("column", "values"),
    [("item_id", [["i0"]] * 36), ("timestamp", [[1_000_000_000]] * 36), ("timestamp", [b"1"] * 36)],
)
def test_columns_that_are_no_text_are_refused(problems_of, column, values):
    content = io.BytesIO()
    pl.read_csv(table().encode()).with_columns(pl.Series(column, values)).write_parquet(content)
    assert f"The column '{column}' holds" in problems_of(content.getvalue(), "events.parquet")["upload"]["message"]


@pytest.mark.parametrize(
    "features", [{"item": [["i0"]], "price": [1.0]}, {"item": ["i0"], "price": [timedelta(days=1)]}]
)
def test_item_features_that_are_no_text_are_refused(problems_of, features):
    content, described = io.BytesIO(), io.BytesIO()
    pl.DataFrame(features).write_parquet(described)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("events.csv", table())
        archive.writestr("items.parquet", described.getvalue())
    assert "expected text or numbers" in problems_of(content.getvalue(), "shop.zip")["upload"]["message"]


def test_a_set_of_the_other_kind_is_refused_by_name(upload, validated):
    outcome = validated(upload(table().encode(), "events.csv"))
    with pytest.raises(ValueError, match="holds events, and pictures are needed"):
        open_images(outcome.dataset)


def test_cold_items_are_dropped_and_counted(events_of):
    rows = [f"{user},{item},{1_000_000_000 + time}" for user in "abc" for time, item in enumerate("xyx")]
    rows += ["d,x,1000000000", "d,y,1000000001", "d,x,1000000002", "d,new,1000000003"]
    data, report = events_of(HEADER + "\n".join(rows))
    # x trains everybody, y trains d alone: nobody's item of validation or testing is unknown but `new`.
    assert data.items.all_ids() == ["x", "y"]
    assert report["cold_items"] == {
        "items": 1,
        "events": {"val": 0, "test": 1},
        "users_without_target": {"val": 0, "test": 1},
    }
    assert "1 items are met in no training event" in by_code(report)["cold-items"]["message"]
    assert data.manifest.splits["test"].users == 3


def test_cold_items_can_be_kept(events_of):
    rows = [f"{user},{item},{1_000_000_000 + time}" for user in "abc" for time, item in enumerate("xyz")]
    data, report = events_of(HEADER + "\n".join(rows), cold_items="keep")
    assert data.items.all_ids() == ["x", "y", "z"]
    assert data.manifest.events == 9
    assert report["cold_items"]["items"] == 0


def test_whole_users_are_held_out(events_of):
    data, _ = events_of(table(users=20), split="by-user", val_fraction=0.1, test_fraction=0.2, split_seed=3)
    splits = {name: (counts.events, counts.users) for name, counts in data.manifest.splits.items()}
    assert splits == {"train": (84, 14), "val": (12, 2), "test": (24, 4)}
    split = data.manifest.split
    assert (split.protocol, split.val_fraction, split.test_fraction, split.seed) == ("by-user", 0.1, 0.2, 3)


def test_events_are_split_at_moments(events_of):
    data, report = events_of(
        table(), split="by-time", validate_from="2001-09-09T01:50:40Z", test_from="2001-09-09T01:51:40Z"
    )
    assert {name: counts.events for name, counts in data.manifest.splits.items()} == {"train": 24, "val": 6, "test": 6}
    assert data.manifest.split.test_from.isoformat() == "2001-09-09T01:51:40+00:00"
    assert report["leakage"]["training_events_after_first_test"] == 0


def test_events_are_split_at_shares_of_them(events_of):
    data, report = events_of(table(users=10, length=10), split="by-time", val_fraction=0.1, test_fraction=0.2)
    assert {name: counts.events for name, counts in data.manifest.splits.items()} == {
        "train": 70,
        "val": 10,
        "test": 20,
    }
    assert report["leakage"]["training_events_after_first_test"] == 0


def test_a_split_without_a_share_is_empty_and_told(events_of):
    data, report = events_of(table(users=10, length=10), split="by-time", val_fraction=0.2, test_fraction=0.0)
    assert {name: counts.events for name, counts in data.manifest.splits.items()} == {"train": 80, "val": 20, "test": 0}
    assert "split test has no events; nothing can be measured" in by_code(report)["empty-split"]["message"]


def test_no_validation_says_what_a_training_does_without(events_of):
    _, report = events_of(table(users=10), split="by-user", val_fraction=0.0)
    assert "split val has no events; a training keeps its last weights" in by_code(report)["empty-split"]["message"]


def test_types_are_chosen_and_counted(events_of, problems_of):
    header = "user_id,item_id,timestamp,event\n"
    rows = [f"u,i{step % 3},{1_000_000_000 + step},{'view' if step % 2 else 'buy'}" for step in range(12)]
    data, report = events_of(header + "\n".join([*rows, "u,i0,1000000099,"]), types=["view"])
    assert data.manifest.types == {"buy": 6, "view": 6}
    assert (data.manifest.events, report["rows_of_other_types"]) == (6, 7)


def test_types_that_are_not_there(problems_of):
    header = "user_id,item_id,timestamp,event\n"
    assert "'sell'" in problems_of(header + "u,i,1000000000,buy\n", types=["sell"])["unknown-type"]["message"]


def test_types_without_a_column(problems_of):
    assert "type of an event" in problems_of(table(), types=["view"])["missing-column"]["message"]


def test_filters_say_what_they_took(events_of):
    rows = [f"u,i{step // 2},{1_000_000_000 + step // 2}" for step in range(8)] + ["v,i0,1000000000", "v,i1,1000000001"]
    content = HEADER + "\n".join(rows)
    data, report = events_of(content, drop_duplicates=True, min_user_events=3, cold_items="keep")
    assert (data.manifest.users, data.manifest.events) == (1, 4)
    assert report["filtered"]["duplicates"] == 4
    assert report["filtered"]["dropped_by_minima"] == 2
    assert by_code(report)["duplicate-events"]["message"].startswith("4 events repeat")


def test_filters_that_leave_nothing(problems_of):
    assert "leave none of 36 events" in problems_of(table(), min_user_events=100)["upload"]["message"]


def test_a_file_without_a_header_is_named_by_numbers(events_of):
    rows = table(header="").replace(",", "|")
    data, _ = events_of(rows, header=False, user_column="1", item_column="2", time_column="3", separator="|")
    assert data.manifest.events == 36


def test_a_folder_in_place_becomes_arrays_of_its_own(validated, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "events.csv").write_text(table())
    outcome = validated(place)
    assert open_event_data(outcome.dataset).manifest.events == 36
    assert [path.name for path in place.iterdir()] == ["events.csv"]


def test_ties_across_a_split_are_told(events_of):
    rows = [f"u,i{step},1000000000" for step in (0, 1, 0, 1)]
    _, report = events_of(HEADER + "\n".join(rows))
    assert report["leakage"]["ties_across_splits"] == 2
    assert "tied-across-splits" in by_code(report)


def test_most_of_an_upload_may_be_read_when_a_share_is_allowed(events_of):
    _, report = events_of(table() + "u,,\n" * 9, max_bad_fraction=0.5)
    assert report["bad_rows"] == {"missing-item": 9}


def test_a_disk_without_room_is_told_before_arrays_are_mapped(upload, validated, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(DiskFullError, match=r"1,000 bytes free\) and sorting 36 events takes 1,440 bytes"):
        validated(upload(table().encode(), "events.csv"))


@pytest.mark.parametrize("asked", [0, 2, 5])
def test_a_wish_to_stop_is_obeyed_and_leaves_no_scratch(upload, validated, recording_run, asked):
    recording_run.stop_after = asked
    with pytest.raises(Stopped):
        validated(upload(table().encode(), "events.csv"))
    assert not (recording_run.folder / "unpacked").exists()


def test_a_parquet_bomb_is_refused(problems_of):
    columns = {name: pl.repeat("x", 1_500_000, dtype=pl.String) for name in ("user", "item", "timestamp")}
    content = io.BytesIO()
    pl.select(**columns).write_parquet(content)
    (problem,) = problems_of(content.getvalue(), "events.parquet").values()
    assert "decompression bomb" in problem["message"]
