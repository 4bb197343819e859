"""Recorded events become an upload: what the worker's supervisor writes, and what validation makes of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from sqlalchemy import Engine, text

from libs.data.config import ValidationConfig
from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.validate import run as validate
from libs.database.engine import each_statement, make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, DatasetVersion, Project, UserEvent
from libs.training.local_run import LocalRun
from libs.training.run import Inputs
from services.worker import recorded
from services.worker.recorded import write_recorded

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, UTC)


def record(engine: Engine, *rows: tuple[str | None, str | None, str, datetime, str], project: Any = None) -> None:
    """Events of (user, session, item, moment, type)."""
    with transaction(engine) as session:
        for user, visit, item, moment, kind in rows:
            session.add(
                UserEvent(
                    project_id=project or DEFAULT_PROJECT_ID,
                    event_key=uuid4(),
                    user_id=user,
                    session_id=visit,
                    item_id=item,
                    type=kind,
                    occurred_at=moment,
                )
            )


def version_of(**asked: Any) -> DatasetVersion:
    return DatasetVersion(project_id=DEFAULT_PROJECT_ID, source={"recorded": asked})


def rows_of(file: Path) -> list[tuple[str, ...]]:
    return pl.read_csv(file, infer_schema=False).rows()


def validated(upload: Path, folder: Path, **options: Any) -> EventData:
    config = ValidationConfig.model_validate({"kind": "events", "events": options})
    outcome = validate(config, Inputs({"upload": upload}), LocalRun(folder, quiet=True))
    assert outcome.dataset is not None
    return open_event_data(outcome.dataset)


def events_of(data: EventData) -> set[tuple[str, str, int]]:
    users, items = data.users.all_ids(), data.items.all_ids()
    offsets = data.events.offsets
    return {
        (users[user], items[int(data.events.items[row]) - 1], int(data.events.times[row]))
        for user in range(len(users))
        for row in range(int(offsets[user]), int(offsets[user + 1]))
    }


@pytest.fixture
def events(engine: Engine) -> None:
    """Old and new ones, of users and of a session; and one of another project."""
    record(
        engine,
        ('anna, "a"', None, "tea", NOW - timedelta(days=40), "view"),
        ('anna, "a"', "s1", "pot", NOW, "buy"),
        (None, "s1", "tea", NOW, "view"),
    )
    with transaction(engine) as session:
        other = Project(id=uuid4(), name="other")
        session.add(other)
    record(engine, ("eve", None, "tea", NOW, "view"), project=other.id)


def test_events_of_the_project_are_written_as_they_are(engine: Engine, events: None, tmp_path: Path) -> None:
    folder = write_recorded(engine, version_of(), None, tmp_path / "upload")
    assert rows_of(folder / "recorded.csv") == [
        ('anna, "a"', "tea", "2026-03-22T12:00:00.123456Z"),
        ('anna, "a"', "pot", "2026-05-01T12:00:00.123456Z"),
        ("session:s1", "tea", "2026-05-01T12:00:00.123456Z"),
    ]


@pytest.mark.parametrize(
    ("asked", "items"), [({"types": ["buy"]}, ["pot"]), ({"types": ["view", "buy"]}, ["tea", "pot", "tea"])]
)
def test_types_choose(engine: Engine, events: None, tmp_path: Path, asked: Mapping[str, Any], items: list[str]) -> None:
    folder = write_recorded(engine, version_of(**asked), None, tmp_path / "upload")
    assert [row[1] for row in rows_of(folder / "recorded.csv")] == items


def test_the_last_days_choose(engine: Engine, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    record(engine, ("a", None, "old", now - timedelta(days=8), "view"), ("a", None, "new", now, "view"))
    folder = write_recorded(engine, version_of(since_days=7), None, tmp_path / "upload")
    assert [row[1] for row in rows_of(folder / "recorded.csv")] == ["new"]


def test_nothing_and_too_much_are_said(
    engine: Engine, events: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"No event of these types was recorded in the last 3 days"):
        write_recorded(engine, version_of(since_days=3, types=["none"]), None, tmp_path / "none")
    monkeypatch.setattr(recorded, "MOST_EVENTS", 2)
    with pytest.raises(DataError, match="More than 2 events were recorded"):
        write_recorded(engine, version_of(), None, tmp_path / "all")


def test_a_base_comes_in_whole_with_its_features(engine: Engine, tmp_path: Path) -> None:
    upload = tmp_path / "first"
    upload.mkdir()
    start = datetime(1971, 2, 3, tzinfo=UTC)
    lines = [
        f"u{n},i{(n + step) % 4},{(start + timedelta(days=step)).isoformat()}" for n in range(4) for step in range(4)
    ]
    (upload / "events.csv").write_text("user,item,timestamp\n" + "\n".join(lines) + "\n", "utf-8")
    features = "item,colour,price\n" + "".join(f"i{n},{'red' if n % 2 else 'blue'},{n}.5\n" for n in range(4))
    (upload / "items.csv").write_text(features + "new,red,9.5\nlater,blue,7\n", "utf-8")
    base = validated(upload, tmp_path / "base")
    record(engine, *[("u1", None, item, NOW + timedelta(minutes=at), "view") for at, item in enumerate(("new", "i0"))])
    record(engine, *[("u9", None, "new", NOW + timedelta(minutes=at), "view") for at in range(4)])
    both = validated(
        write_recorded(engine, version_of(), tmp_path / "base/dataset", tmp_path / "up"), tmp_path / "both"
    )
    assert events_of(base) < events_of(both)
    assert len(events_of(both)) == len(events_of(base)) + 6
    assert {feature.name: feature.type for feature in both.manifest.item_features} == {
        "colour": "category",
        "price": "number",
    }
    described = both.items.features(["id", "colour", "price"])
    assert described.filter(pl.col("id").is_in(["i1", "new"])).sort("id").rows() == [
        ("i1", "red", 1.5), ("new", "red", 9.5)
    ]  # fmt: skip
    assert both.new_items is not None
    assert pl.read_parquet(both.new_items).rows() == [("later", "blue", 7.0)]


def test_a_base_that_holds_recorded_events_is_added_to_without_counting_them_twice(engine: Engine, tmp_path: Path):
    def walk(item: str, start: int) -> None:
        moments = [NOW + timedelta(minutes=start + at, microseconds=at) for at in range(4)]
        record(engine, *[(f"u{n}", None, item, moment, "view") for n in range(3) for moment in moments])

    def version(number: int, base: Path | None) -> EventData:
        upload = write_recorded(engine, version_of(), base, tmp_path / f"upload-{number}")
        return validated(upload, tmp_path / f"v{number}", drop_duplicates=True)

    walk("tea", 0)
    first = version(1, None)
    walk("pot", 10)
    second = version(2, tmp_path / "v1" / "dataset")
    assert len(first.events.items) == len(events_of(first)) == 12
    assert len(second.events.items) == len(events_of(second)) == 24
    assert events_of(first) < events_of(second)


def test_events_are_written_however_long_that_takes(engine: Engine, tmp_path: Path) -> None:
    many = text("""
        INSERT INTO user_events (project_id, event_key, user_id, item_id, type, occurred_at)
        SELECT :project, gen_random_uuid(), 'u' || n, 'i', 'view', now() FROM generate_series(1, 60000) AS n""")
    with transaction(engine) as session:
        session.execute(many, {"project": DEFAULT_PROJECT_ID})
    impatient = make_engine(engine.url.render_as_string(hide_password=False), pool_size=1, max_overflow=0)
    with each_statement(impatient) as connection:  # all connections of the pool: this one
        connection.execute(text("SET statement_timeout = '25ms'"))
    folder = write_recorded(impatient, version_of(), None, tmp_path / "recorded")
    impatient.dispose()
    assert len(rows_of(folder / "recorded.csv")) == 60_000
