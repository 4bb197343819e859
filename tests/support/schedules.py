"""Schedules in a database, due when a test says so."""

from typing import Any

from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Schedule
from libs.jobs.schedules import Plan, create

JOB = {"method": "supervised", "datasets": {"train": "digits"}}
"""Needs a data set `digits`."""


def scheduled(db: Session, name: str = "nightly", **plan: Any) -> Schedule:
    """A schedule that was committed; each night unless it is said otherwise."""
    rhythm = {} if "every_s" in plan else {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    made = create(db, DEFAULT_PROJECT_ID, name, Plan(**{"job": JOB, **rhythm, **plan}), "")
    db.commit()
    return made


def make_due(db: Session, name: str = "nightly", since: str = "1 second") -> None:
    """As if the schedule had been due for so long."""
    ago = func.clock_timestamp() - text(f"interval '{since}'")
    db.execute(update(Schedule).where(Schedule.name == name).values(next_run_at=ago))
    db.commit()
