"""Schedules that are due: met once, whatever happens between, and what becomes of each time is written down."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, DatasetVersion, Job, JobDependency, Outbox, Schedule, ScheduleRun
from libs.jobs import firing, queue, schedules, wishes
from libs.jobs.errors import RequestRefused, ScheduleBusy, ScheduleNameTaken, ScheduleNotFound
from libs.jobs.firing import KEPT_RUNS, MOST_REFUSALS, fire_next, run_now
from libs.jobs.retention import delete_job
from libs.jobs.schedules import Plan
from libs.jobs.states import ExitReason
from libs.registry.datasets import delete_dataset
from libs.registry.models import delete_model
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.registry import add_version, next_item_bundle
from tests.support.schedules import JOB, make_due, scheduled
from tests.support.specs import claimed_again

EVENTS = {"name": "clicks", "source": {"recorded": {"base": "clicks@1"}}}
BASE = ("source", "recorded", "base")
UPDATE = {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop"}}


@pytest.fixture(autouse=True)
def _digits(db: Session) -> None:
    add_dataset(db, "digits")
    db.commit()


@pytest.fixture
def shop(db: Session) -> None:
    """A data set `clicks` of events and a recommender `shop`."""
    add_dataset(db, "clicks", manifest=EVENTS_MANIFEST)
    add_version(db, "shop", bundle=next_item_bundle())
    db.commit()


def fire(db: Session) -> ScheduleRun:
    run = fire_next(db, "")
    db.commit()
    assert run is not None
    return run


def met(db: Session, **due: str) -> ScheduleRun:
    """The run of the schedule `nightly`, which is made due."""
    make_due(db, **due)
    return fire(db)


def job_of(db: Session, run: ScheduleRun) -> Job:
    assert run.job_id is not None, run.reason
    return db.get_one(Job, run.job_id, populate_existing=True)


def reread(db: Session, name: str = "nightly") -> Schedule:
    found = schedules.find(db, DEFAULT_PROJECT_ID, name)
    db.refresh(found)
    return found


def jobs(db: Session) -> int:
    return db.scalar(select(func.count()).select_from(Job)) or 0


def test_a_time_that_is_due_is_met_once(db: Session):
    schedule = scheduled(db)
    assert fire_next(db, "") is None
    make_due(db)
    due_at = reread(db).next_run_at
    run = fire(db)
    job = job_of(db, run)
    assert (run.outcome, run.planned_at, run.fired_by) == ("submitted", due_at, "clock")
    assert (job.status, job.spec["datasets"]) == ("queued", {"train": "digits@1"})
    assert db.scalars(select(Outbox.job_id)).all() == [job.id]
    assert fire_next(db, "") is None
    db.refresh(schedule)
    assert schedule.next_run_at > firing.now(db)
    assert schedule.next_run_at.astimezone(UTC).hour in (1, 2)


def test_two_relays_meet_each_time_once(db: Session, engine: Engine):
    names = [f"s{n}" for n in range(8)]
    for name in names:
        scheduled(db, name)
        make_due(db, name)

    def relay() -> list[UUID]:
        fired = []
        while True:
            with transaction(engine) as session:
                run = fire_next(session, "")
            if run is None:
                return fired
            fired.append(run.schedule_id)

    with ThreadPoolExecutor(3) as pool:
        fired = [one for found in pool.map(lambda _: relay(), range(3)) for one in found]
    assert sorted(fired) == sorted(db.scalars(select(Schedule.id)))
    assert jobs(db) == len(names)


def test_a_relay_that_dies_between_leaves_the_time_to_another(db: Session, engine: Engine):
    scheduled(db)
    make_due(db)
    with Session(engine) as dying:
        assert fire_next(dying, "") is not None
        assert fire_next(db, "") is None  # it is being fired
        db.rollback()
        dying.rollback()  # what Postgres does when the connection breaks
    assert jobs(db) == 0
    assert fire(db).outcome == "submitted"
    assert jobs(db) == 1


def test_a_clock_that_is_set_back_meets_no_time_again(db: Session):
    schedule = scheduled(db)
    run = met(db)
    schedule.next_run_at = run.planned_at
    db.commit()
    assert fire(db).id == run.id
    assert jobs(db) == 1
    assert reread(db).next_run_at > firing.now(db)


def test_one_time_has_one_run(db: Session):
    schedule_id = scheduled(db).id
    run = met(db)
    db.add(ScheduleRun(schedule_id=schedule_id, planned_at=run.planned_at, fired_by="clock", outcome="skipped"))
    with pytest.raises(IntegrityError):
        db.flush()


@pytest.mark.parametrize(("misfire", "outcome"), [("once", "submitted"), ("skip", "skipped")])
@pytest.mark.parametrize("rhythm", [{"cron": "*/5 * * * *"}, {"every_s": 3600}])
def test_what_was_missed_is_made_up_for_once_or_not_at_all(
    db: Session, misfire: str, outcome: str, rhythm: dict[str, object]
):
    scheduled(db, misfire=misfire, **rhythm)
    run = met(db, since="3 days")
    assert run.outcome == outcome
    assert fire_next(db, "") is None
    wait = reread(db).next_run_at - firing.now(db)
    assert timedelta(0) < wait <= timedelta(hours=1)
    assert met(db, since="5 seconds").outcome == "submitted" if outcome == "skipped" else run.reason is None


def test_jobs_of_a_schedule_overlap_only_when_it_says_so(db: Session):
    scheduled(db)
    first = met(db)
    second = met(db)
    assert (second.outcome, second.reason) == ("skipped", f"job {first.job_id} of an earlier time has not ended")
    assert first.job_id is not None
    wishes.cancel(db, DEFAULT_PROJECT_ID, first.job_id)
    db.commit()
    assert met(db).outcome == "submitted"
    scheduled(db, "often", overlap="allow")
    for _ in range(2):
        make_due(db, "often")
        assert fire(db).outcome == "submitted"


def test_a_refusal_says_why_and_several_pause_the_schedule(db: Session):
    scheduled(db)
    delete_dataset(db, DEFAULT_PROJECT_ID, "digits")
    db.commit()
    for count in range(1, MOST_REFUSALS + 1):
        run = met(db)
        assert (run.outcome, run.job_id) == ("refused", None)
        assert run.reason == "/job/datasets/train: There is no data set 'digits'."
        assert reread(db).refusals == count
    schedule = reread(db)
    assert (schedule.status, schedule.next_run_at) == ("paused", None)
    assert schedule.status_reason == f"refused {MOST_REFUSALS} times in a row; the last time: {run.reason}"
    assert jobs(db) == 0
    add_dataset(db, "digits")
    schedule = schedules.resume(db, DEFAULT_PROJECT_ID, "nightly")
    assert (schedule.status, schedule.status_reason, schedule.refusals) == ("active", None, 0)
    assert schedule.next_run_at > firing.now(db)


def test_a_model_that_was_deleted_refuses_and_leaves_no_data_set_behind(db: Session, shop: None):
    scheduled(db, job=UPDATE, dataset=EVENTS)
    delete_model(db, DEFAULT_PROJECT_ID, "shop")
    assert met(db).reason == "/job/models/init: There is no model 'shop'."
    assert db.scalars(select(DatasetVersion).where(DatasetVersion.status != "ready")).all() == []


def test_one_success_forgets_the_refusals_before_it(db: Session):
    scheduled(db)
    delete_dataset(db, DEFAULT_PROJECT_ID, "digits")
    met(db)
    add_dataset(db, "digits")
    assert met(db).outcome == "submitted"
    assert reread(db).refusals == 0


def test_what_nobody_expected_is_a_refusal_and_stops_nothing(db: Session, monkeypatch: pytest.MonkeyPatch):
    scheduled(db)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(firing, "submit_plan", broken)
    run = met(db)
    assert (run.outcome, run.reason) == ("refused", "RuntimeError; the relay's log says more")


def test_when_postgres_is_away_the_time_is_met_later(db: Session, monkeypatch: pytest.MonkeyPatch):
    scheduled(db)
    make_due(db)

    def away(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patched:
        patched.setattr(firing, "submit_plan", away)
        with pytest.raises(OperationalError):
            fire_next(db, "")
    db.rollback()
    assert fire(db).outcome == "submitted"


def test_the_data_set_is_made_first_and_the_job_waits_for_just_it(db: Session, shop: None):
    scheduled(db, job=UPDATE, dataset=EVENTS)
    assert db.scalars(select(DatasetVersion.version).where(DatasetVersion.upload_uri == "recorded:")).all() == []
    run = met(db)
    job = job_of(db, run)
    version = db.scalars(select(DatasetVersion).where(DatasetVersion.upload_uri == "recorded:")).one()
    assert (run.dataset, version.version, version.status) == ("clicks@2", 2, "validating")
    assert (job.status, job.spec["datasets"]) == ("waiting", {"train": "clicks@2"})
    assert job.spec["models"] == {"init": "shop@1"}
    assert job.spec["digests"].keys() == {"models/init"}
    waits_for = select(JobDependency.depends_on).where(JobDependency.job_id == job.id)
    assert db.scalars(waits_for).all() == [version.validation_job_id]


def test_a_job_whose_data_set_is_invalid_ends_with_the_reason(db: Session, shop: None):
    scheduled(db, job=UPDATE, dataset=EVENTS)
    run = met(db)
    validation = db.scalars(select(Job).where(Job.method == "validate-dataset")).one()
    attempt = claimed_again(db, validation)
    error = {"error": "DataError", "message": "No event of these types was recorded."}
    queue.fail(db, attempt.id, attempt.epoch, ExitReason.ERROR, error, retryable=False)
    db.commit()
    job = job_of(db, run)
    assert job.status == "failed"
    assert job.status_reason == (
        f"job {validation.id}, which it depends on, is failed: No event of these types was recorded."
    )
    assert met(db).outcome == "submitted"  # the next time is not held up


@pytest.mark.parametrize(
    ("job", "dataset", "path"),
    [
        ({**UPDATE, "datasets": {"train": "clicks@1"}}, EVENTS, ("job", "datasets")),
        ({**UPDATE, "digests": {"datasets/train": "0" * 64}}, EVENTS, ("job", "digests", "datasets/train")),
        ({**JOB, "datasets": {"train": "clicks"}}, EVENTS, ("job", "datasets", "train")),
        ({**UPDATE, "models": {"init": "shops"}}, EVENTS, ("job", "models", "init")),
        (UPDATE, {"name": "clicks", "source": {"recorded": {"base": "digits"}}}, ("dataset", *BASE)),
        (UPDATE, {"name": "clicks", "source": {"path": "/etc"}}, ("dataset", "source", "path")),
        (UPDATE, {"name": "clicks", "source": {"upload": "a.csv"}}, ("dataset", "source", "upload")),
        ({**UPDATE, "config": {"epochs": 0}}, EVENTS, ("job", "config", "epochs")),
    ],
)
def test_what_would_be_refused_is_refused_when_it_is_scheduled(
    db: Session, shop: None, job: dict[str, object], dataset: dict[str, object], path: tuple[str, ...]
):
    with pytest.raises(RequestRefused) as refused:
        scheduled(db, job=job, dataset=dataset)
    assert [fault.path for fault in refused.value.faults] == [path]
    db.rollback()
    assert jobs(db) == 0


def test_making_a_schedule_leaves_nothing_of_its_rehearsal(db: Session, shop: None):
    scheduled(db, job=UPDATE, dataset=EVENTS)
    assert jobs(db) == 0
    assert db.scalars(select(Outbox)).all() == []
    assert db.scalars(select(DatasetVersion).where(DatasetVersion.status != "ready")).all() == []


def test_by_hand_it_runs_at_once_and_keeps_its_rhythm(db: Session):
    scheduled(db)
    next_run_at = reread(db).next_run_at
    schedules.pause(db, DEFAULT_PROJECT_ID, "nightly")
    run = run_now(db, schedules.lock(db, DEFAULT_PROJECT_ID, "nightly"), "")
    assert (run.fired_by, job_of(db, run).status) == ("user", "queued")
    with pytest.raises(ScheduleBusy, match=str(run.job_id)):
        run_now(db, schedules.lock(db, DEFAULT_PROJECT_ID, "nightly"), "")
    assert schedules.resume(db, DEFAULT_PROJECT_ID, "nightly").next_run_at == next_run_at


def test_a_paused_schedule_is_not_due(db: Session):
    scheduled(db)
    make_due(db)
    schedules.pause(db, DEFAULT_PROJECT_ID, "nightly")
    db.commit()
    assert fire_next(db, "") is None
    assert firing.seconds_to_next(db) is None


def test_another_plan_keeps_the_rhythm_unless_that_is_changed(db: Session):
    scheduled(db, every_s=3600)
    before = reread(db)
    due_at = before.next_run_at
    changed = schedules.replace(db, DEFAULT_PROJECT_ID, "nightly", Plan(job={**JOB, "seed": 1}, every_s=3600), "")
    assert (changed.job["seed"], changed.next_run_at) == (1, due_at)
    changed = schedules.replace(db, DEFAULT_PROJECT_ID, "nightly", Plan(job=JOB, cron="* * * * *"), "")
    assert (changed.every_s, changed.cron) == (None, "* * * * *")
    assert changed.next_run_at - firing.now(db) <= timedelta(minutes=1)


def test_names(db: Session):
    scheduled(db)
    with pytest.raises(ScheduleNameTaken):
        scheduled(db)
    with pytest.raises(ScheduleNotFound, match="Did you mean 'nightly'"):
        schedules.find(db, DEFAULT_PROJECT_ID, "nightli")
    schedules.delete(db, DEFAULT_PROJECT_ID, "nightly")
    assert db.scalars(select(Schedule)).all() == []


def test_old_runs_are_forgotten_but_not_those_whose_job_has_not_ended(db: Session):
    schedule = scheduled(db)
    running = met(db)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    old = [
        ScheduleRun(
            schedule_id=schedule.id,
            planned_at=start + timedelta(minutes=n),
            created_at=start + timedelta(minutes=n),
            fired_by="clock",
            outcome="skipped",
        )
        for n in range(KEPT_RUNS + 20)
    ]
    db.add_all(old)
    db.execute(update(ScheduleRun).where(ScheduleRun.id == running.id).values(created_at=start - timedelta(days=1)))
    db.commit()
    newest = met(db)
    kept = set(db.scalars(select(ScheduleRun.id)))
    assert kept == {running.id, newest.id, *(run.id for run in old[-KEPT_RUNS + 1 :])}
    assert newest.outcome == "skipped"


def test_a_schedule_and_its_jobs_are_deleted_apart(db: Session, shop: None):
    scheduled(db)
    run = met(db)
    job_id = job_of(db, run).id
    wishes.cancel(db, DEFAULT_PROJECT_ID, job_id)
    delete_job(db, DEFAULT_PROJECT_ID, job_id)
    db.refresh(run)
    assert (run.outcome, run.job_id) == ("submitted", None)
    other = job_of(db, met(db)).id
    schedules.delete(db, DEFAULT_PROJECT_ID, "nightly")
    assert db.scalars(select(ScheduleRun)).all() == []
    assert db.get_one(Job, other).status == "queued"
