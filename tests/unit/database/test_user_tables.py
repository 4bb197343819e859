"""Events and recommendations of users: forgotten when old, found by an index when there are many."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from libs.database.retention import delete_old_events, delete_old_recommendations
from libs.database.tables import DEFAULT_PROJECT_ID, Feedback, Recommendation, UserEvent
from services.recommender.explanations import repository as explanations
from services.recommender.history.repository import Actor, newest
from tests.support.memory import record_json

NOW = datetime.now(UTC)


def event(days_ago: float, **changes: object) -> UserEvent:
    fields = {
        "project_id": DEFAULT_PROJECT_ID,
        "event_key": uuid4(),
        "user_id": "u",
        "item_id": f"{days_ago:g}",
        "type": "view",
        "occurred_at": NOW,
        "received_at": NOW - timedelta(days=days_ago),
    }
    return UserEvent(**{**fields, **changes})


def test_old_events_are_deleted_by_arrival_the_first_ones_first(db: Session):
    for days_ago in (40, 35, 31, 2, 1):
        db.add(event(days_ago))
        db.flush()
    assert delete_old_events(db, 30 * 86_400, limit=2) == 2
    assert set(db.scalars(select(UserEvent.item_id))) == {"31", "2", "1"}
    assert delete_old_events(db, 30 * 86_400, limit=2) == 1
    assert delete_old_events(db, 30 * 86_400, limit=2) == 0
    assert set(db.scalars(select(UserEvent.item_id))) == {"2", "1"}


def test_an_event_that_happened_long_ago_and_came_today_stays(db: Session):
    db.add(event(0, occurred_at=NOW - timedelta(days=4000)))
    db.flush()
    assert delete_old_events(db, 86_400) == 0


def test_feedback_goes_with_its_recommendation(db: Session):
    explanations.insert(db, [record_json(["a"], created_at=NOW - timedelta(days=100)), record_json(["b"])])
    for row in db.scalars(select(Recommendation)).all():
        db.add(Feedback(recommendation_id=row.id, kind="click", rank=1, item_id=row.items[0]["item_id"]))
    db.flush()
    assert delete_old_recommendations(db, 90 * 86_400) == 1
    assert delete_old_recommendations(db, 90 * 86_400) == 0
    assert db.scalars(select(Feedback.item_id)).all() == ["b"]


def test_an_event_is_of_somebody(db: Session):
    db.add(event(0, user_id=None))
    with pytest.raises(IntegrityError, match="ck_user_events_someone"):
        db.flush()


@pytest.mark.parametrize(("kind", "after"), [("user", None), ("session", None), ("user", (NOW, 700))])
def test_the_newest_events_come_from_an_index_without_sorting(
    db: Session, kind: str, after: tuple[datetime, int] | None, monkeypatch: pytest.MonkeyPatch
):
    db.add_all(event(0, user_id=f"u{n % 50}", session_id=f"s{n % 50}") for n in range(1000))
    db.flush()
    db.execute(text("ANALYZE user_events"))
    plans: list[str] = []
    scalars = db.scalars

    def explaining(query):
        shown = query.compile(db.get_bind(), compile_kwargs={"literal_binds": True})
        plans.append("\n".join(db.execute(text(f"EXPLAIN {shown}".replace(":", r"\:"))).scalars()))
        return scalars(query)

    monkeypatch.setattr(db, "scalars", explaining)
    rows = newest(db, DEFAULT_PROJECT_ID, Actor(kind, f"{kind[0]}7"), 5, after)
    assert len(rows) == 5
    assert f"ix_user_events_{kind}" in plans[0]
    assert "Sort" not in plans[0]
