"""Jobs made for a job: its teacher's, and the runs it compares. One transaction makes them, one rule ends them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, JobDependency
from libs.jobs import moves, queue, wishes
from libs.jobs.dependencies import cancel_needless, needed, progress_before
from libs.jobs.errors import DependencyNotFound, InvalidMove, JobInUse, RequestRefused
from libs.jobs.firing import submit_plan
from libs.jobs.moves import lock, lock_free
from libs.jobs.reaper import reap
from libs.jobs.retention import delete_job
from libs.jobs.spec import parse_spec
from libs.jobs.states import ExitReason
from libs.jobs.submit import NewJob, accept, clone, retry
from libs.registry.models import delete_model
from tests.support.datasets import EVENTS_MANIFEST, MANIFEST, add_dataset
from tests.support.registry import add_version, bundle, next_item_bundle
from tests.support.specs import LEASE_S

AFD = {"method": "afd", "datasets": {"train": "pets"}}
TRAINED = {**AFD, "teacher": {"train": {"model": "wrn-40-2", "epochs": 3}}, "seed": 7}
COMPARED = {**TRAINED, "compare": {"seeds": [1, 2], "baselines": ["supervised", "kd"]}}
FRSKD = {"method": "frskd", "datasets": {"train": "pets"}, "compare": {"seeds": [1, 2]}}
RKSA = {"method": "rksa", "datasets": {"train": "clicks"}, "compare": {"seeds": [1, 2]}}


@pytest.fixture(autouse=True)
def _registry(db: Session) -> None:
    """Data sets `pets` (cat, dog), `birds` (owl, tit, wren), `rows` (none held out), `photos` (coloured), `clicks`,
    `taps` (events, none held out), `snaps` (without labels); the models `vet` and `shop`, a gru4rec.
    """
    add_dataset(db, "pets")
    birds = MANIFEST.model_copy(update={"classes": ["owl", "tit", "wren"]})
    add_dataset(db, "birds", manifest=birds)
    add_dataset(db, "rows", manifest=MANIFEST.model_copy(update={"splits": {"train": MANIFEST.splits["train"]}}))
    add_dataset(db, "photos", manifest=MANIFEST.model_copy(update={"channels": 3}))
    add_dataset(db, "clicks", manifest=EVENTS_MANIFEST)
    add_dataset(
        db, "taps", manifest=EVENTS_MANIFEST.model_copy(update={"splits": {"train": EVENTS_MANIFEST.splits["train"]}})
    )
    add_dataset(db, "snaps", manifest=MANIFEST.model_copy(update={"classes": []}))
    add_version(db, "vet", bundle=bundle(labels=["cat", "dog"]))
    add_version(db, "shop", bundle=next_item_bundle())
    db.commit()


def accepted(db: Session, **request: Any) -> Job:
    new = accept(db, DEFAULT_PROJECT_ID, parse_spec(request))
    db.commit()
    return db.get_one(Job, new.id)


def needs(db: Session, job: Job | NewJob) -> dict[str, Job]:
    db.expire_all()
    return {str(role): other for other, role in needed(db, job.id)}


def teacher_of(db: Session, job: Job | NewJob) -> Job:
    return needs(db, job)["models/teacher"]


def start(db: Session, job: Job) -> Job:
    """The job with its first attempt running, whatever else is queued."""
    found = queue._take(db, job.id, uuid4(), LEASE_S)
    queue.mark_running(db, job.id, found.epoch, "cpu")
    db.commit()
    return found


def succeed(db: Session, job: Job, status: str = "ready") -> None:
    running = start(db, job) if job.status == "queued" else job
    made = {"name": job.spec["output_model"] or job.name, "version": 1, "status": status, "status_reason": "parity"}
    queue.succeed(db, job.id, running.epoch, {"model": {**made, "digest": "d" * 64}})
    db.commit()


def fail(db: Session, job: Job) -> None:
    running = start(db, job) if job.status == "queued" else job
    queue.fail(db, job.id, running.epoch, ExitReason.ERROR, {"message": "diverged"}, retryable=False)
    db.commit()


def count(db: Session) -> int:
    return db.scalars(select(func.count()).select_from(Job)).one()


def statuses(jobs: Sequence[Job]) -> list[str]:
    return [job.status for job in jobs]


def test_a_teacher_is_trained_first_and_pinned_when_it_is_there(db: Session) -> None:
    job = accepted(db, **TRAINED)
    teacher = teacher_of(db, job)
    assert (teacher.method, teacher.name, teacher.status) == ("supervised", "pets-afd-teacher", "queued")
    assert teacher.parent_id == job.id
    assert teacher.created_at < job.created_at
    assert teacher.spec["datasets"] == {"train": "pets@1"}
    assert teacher.spec["config"]["model"] == "wrn-40-2"
    assert teacher.spec["seed"] == 7
    assert job.status == "waiting"
    assert parse_spec(job.spec).teacher is not None, "what is stored can be submitted again"
    succeed(db, teacher)
    db.refresh(job)
    assert job.status == "queued"
    assert job.spec["models"] == {"teacher": "pets-afd-teacher@1"}
    assert job.spec["digests"]["models/teacher"] == "d" * 64
    assert job.spec["teacher"] is None
    parse_spec(job.spec)


def test_a_model_is_tuned_on_the_data_of_the_job_first(db: Session) -> None:
    job = accepted(db, **{**AFD, "datasets": {"train": "birds"}}, teacher={"init": "vet", "finetune": {"epochs": 2}})
    teacher = teacher_of(db, job)
    assert teacher.spec["models"] == {"init": "vet@1"}
    assert teacher.spec["datasets"] == {"train": "birds@1"}
    assert teacher.spec["config"]["epochs"] == 2


def test_a_model_named_as_teacher_is_pinned_at_once(db: Session) -> None:
    job = accepted(db, **AFD, teacher="vet")
    assert (job.status, job.spec["models"], job.spec["teacher"]) == ("queued", {"teacher": "vet@1"}, None)
    assert count(db) == 1


@pytest.mark.parametrize("status", ["rejected", None])
def test_a_teacher_that_cannot_be_used_fails_the_job_with_the_reason(db: Session, status: str | None) -> None:
    job = accepted(db, **TRAINED)
    teacher = teacher_of(db, job)
    if status is None:
        queue.succeed(db, start(db, teacher).id, 1, {})
    else:
        succeed(db, teacher, status)
    db.refresh(job)
    assert job.status == "failed"
    assert ("is rejected: parity" if status else "made none") in job.status_reason


def test_a_comparison_waits_for_a_run_of_each_arm_and_seed(db: Session) -> None:
    job = accepted(db, **COMPARED)
    found = needs(db, job)
    runs = [f"runs/{arm}/{seed}" for seed in (1, 2) for arm in ("afd", "supervised", "kd")]
    assert list(found) == ["models/teacher", *runs]
    assert (job.method, job.queue, job.status) == ("compare", "short", "waiting")
    kd = found["runs/kd/2"]
    assert (kd.method, kd.spec["config"]["beta"], kd.spec["seed"]) == ("afd", 0.0, 2)
    assert (kd.name, kd.spec["output_model"]) == ("pets-afd-kd-2", "pets-afd-kd")
    assert {other.parent_id for other in found.values()} == {job.id}
    assert {other.group_id for other in found.values()} == {job.id}
    assert found["runs/supervised/1"].status == "queued", "it needs no teacher"
    assert [other.status for role, other in found.items() if "afd" in role or "kd" in role] == ["waiting"] * 4
    (teacher,) = needs(db, kd).values()
    assert teacher.id == found["models/teacher"].id


def test_a_recommender_is_compared_with_the_usual_ones_or_those_that_are_named(db: Session) -> None:
    job = accepted(db, **RKSA, config={"epochs": 3})
    assert job.spec["config"]["baselines"] == ["sasrec", "gru4rec", "narm", "bpr-mf"]
    usual = needs(db, job)
    assert list(usual) == [
        f"runs/{arm}/{seed}" for seed in (1, 2) for arm in ("rksa", "sasrec", "gru4rec", "narm", "bpr-mf")
    ]
    assert {(job.status, job.spec["config"]["epochs"]) for job in usual.values()} == {("queued", 3)}
    named = {**RKSA["compare"], "baselines": ["no-skew", "gru4rec.untied"]}
    found = needs(db, accepted(db, **{**RKSA, "compare": named}))
    untied = found["runs/gru4rec.untied/2"]
    assert (untied.method, untied.spec["config"]["tied"]) == ("gru4rec", False)
    assert (untied.name, untied.spec["output_model"]) == ("clicks-rksa-gru4rec.untied-2", "clicks-rksa-gru4rec.untied")


def test_a_comparison_is_queued_when_its_last_run_has_succeeded(db: Session) -> None:
    job = accepted(db, **COMPARED)
    for role, other in needs(db, job).items():
        db.refresh(job)
        assert job.status == "waiting", role
        succeed(db, db.get_one(Job, other.id, populate_existing=True))
    db.refresh(job)
    assert (job.status, job.progress_note) == ("queued", "6 of 7 jobs are done")
    assert 0.8 < job.progress < progress_before(job.method) < 1, "what it does itself goes on from there"
    assert progress_before("afd") == 0
    assert job.spec["models"] == {"teacher": "pets-afd-teacher@1"}
    for other in needs(db, job).values():
        assert other.spec["models"] == ({} if other.method == "supervised" else {"teacher": "pets-afd-teacher@1"})


def test_a_failed_run_fails_the_comparison_and_the_rest_is_cancelled(db: Session) -> None:
    job = accepted(db, **FRSKD)
    first, second, *others = needs(db, job).values()
    running = start(db, second)
    fail(db, first)
    db.refresh(job)
    assert job.status == "failed"
    assert job.status_reason.endswith("is failed: diverged")
    assert reap(db).cancelled == 3
    db.commit()
    db.expire_all()
    assert (running.status, statuses(others)) == ("cancelling", ["cancelled", "cancelled"])
    assert others[0].status_reason == "nothing waits for it any more"
    assert reap(db).cancelled == 0


def test_cancel_passes_on_to_what_was_made_for_the_job_alone(db: Session) -> None:
    job = accepted(db, **COMPARED)
    done = needs(db, job)["runs/supervised/1"]
    succeed(db, done)
    running = start(db, teacher_of(db, job))
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    found = needs(db, job)
    assert (job.status, running.status, found["runs/supervised/1"].status) == ("cancelled", "cancelling", "succeeded")
    assert {other.status for role, other in found.items() if role not in ("models/teacher", "runs/supervised/1")} == {
        "cancelled"
    }


def test_a_teacher_that_another_job_waits_for_goes_on(db: Session) -> None:
    job = accepted(db, **TRAINED)
    teacher = teacher_of(db, job)
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
    assert teacher.status == "cancelled"
    first, second = (retry(db, DEFAULT_PROJECT_ID, job.id) for _ in range(2))
    shared = teacher_of(db, first)
    assert (shared.retry_of, shared.status, shared.parent_id) == (teacher.id, "queued", first.id)
    assert teacher_of(db, second).id == shared.id
    wishes.cancel(db, DEFAULT_PROJECT_ID, first.id)
    assert shared.status == "queued"
    assert reap(db).cancelled == 0
    wishes.cancel(db, DEFAULT_PROJECT_ID, second.id)
    assert shared.status == "cancelled"


def test_cancelling_a_group_passes_on_to_what_was_made_for_its_members_alone(db: Session) -> None:
    group = uuid4()
    new = accept(db, DEFAULT_PROJECT_ID, parse_spec(TRAINED), group_id=group)
    compared = accept(db, DEFAULT_PROJECT_ID, parse_spec(FRSKD), group_id=group)
    running = start(db, teacher_of(db, new))
    assert wishes.cancel_group(db, DEFAULT_PROJECT_ID, group) == 2
    assert (running.status, db.get_one(Job, new.id).status) == ("cancelling", "cancelled")
    assert set(statuses([*needs(db, compared).values()])) == {"cancelled"}


def test_pause_and_resume_pass_on(db: Session) -> None:
    job = accepted(db, **COMPARED)
    running = start(db, teacher_of(db, job))
    wishes.pause(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    found = needs(db, job)
    assert (job.status, found["runs/afd/1"].status, found["runs/supervised/1"].status) == ("paused",) * 3
    with pytest.raises(InvalidMove, match="being paused: wait a moment"):
        wishes.resume(db, DEFAULT_PROJECT_ID, job.id)
    succeed(db, running)  # it had no time to stop
    wishes.resume(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    found = needs(db, job)
    assert (job.status, found["runs/afd/1"].status, found["runs/supervised/1"].status) == (
        "waiting",
        "queued",
        "queued",
    )
    assert found["runs/afd/1"].spec["models"] == {"teacher": "pets-afd-teacher@1"}


def test_retry_uses_again_what_succeeded_and_retries_the_rest_once(db: Session) -> None:
    job = accepted(db, **COMPARED)
    before = needs(db, job)
    succeed(db, before["runs/supervised/1"])
    fail(db, before["models/teacher"])
    db.refresh(job)
    assert job.status == "failed"
    reap(db)
    db.commit()
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    after = needs(db, again)
    assert again.status == "waiting"
    assert after["runs/supervised/1"].id == before["runs/supervised/1"].id
    assert after["runs/supervised/2"].retry_of == before["runs/supervised/2"].id
    assert after["models/teacher"].retry_of == before["models/teacher"].id
    assert {teacher_of(db, after[role]).id for role in ("runs/afd/1", "runs/kd/2")} == {after["models/teacher"].id}
    assert {other.group_id for role, other in after.items() if role != "runs/supervised/1"} == {again.id}
    assert count(db) == 8 + 7


def test_retry_takes_the_retry_that_a_user_made_of_a_run(db: Session) -> None:
    job = accepted(db, **FRSKD)
    failed = needs(db, job)["runs/frskd/1"]
    fail(db, failed)
    run = db.get_one(Job, retry(db, DEFAULT_PROJECT_ID, failed.id).id)
    succeed(db, run)
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    assert needs(db, again)["runs/frskd/1"].id == run.id
    assert count(db) == 5 + 1 + 1, "the other runs were not cancelled yet, and go on"


def test_retry_takes_the_retry_of_a_retry(db: Session) -> None:
    job = accepted(db, **TRAINED)
    fail(db, teacher_of(db, job))
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    fail(db, teacher_of(db, again))
    newest = teacher_of(db, retry(db, DEFAULT_PROJECT_ID, again.id))
    assert teacher_of(db, retry(db, DEFAULT_PROJECT_ID, job.id)).id == newest.id


def test_retries_at_the_same_time_make_a_teacher_once(engine: Engine, db: Session) -> None:
    job = accepted(db, **COMPARED)
    fail(db, teacher_of(db, job))
    pair = [needs(db, job)[role].id for role in ("runs/afd/1", "runs/kd/1")]

    def again(job_id: UUID) -> UUID:
        with transaction(engine) as session:
            return teacher_of(session, retry(session, DEFAULT_PROJECT_ID, job_id)).id

    with transaction(engine) as session:
        lock(session, needs(session, job)["models/teacher"].id)
        pool = ThreadPoolExecutor(2)
        made = [pool.submit(again, one) for one in pair]
        while waiting_for_locks(db) < 2 and not any(one.done() for one in made):
            db.rollback()
    assert len({one.result() for one in made}) == 1
    pool.shutdown()


def waiting_for_locks(db: Session) -> int:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return db.scalars(text(waiting)).one()


def test_a_model_that_a_gate_refused_is_not_waited_for_again(db: Session) -> None:
    job = accepted(db, **COMPARED)
    succeed(db, teacher_of(db, job), "rejected")
    with pytest.raises(InvalidMove, match=f"{job.id} is failed.*Clone it to make all anew"):
        retry(db, DEFAULT_PROJECT_ID, job.id)


def test_what_a_retry_has_come_to_wait_for_is_not_cancelled(
    engine: Engine, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accepted(db, **FRSKD)
    first, second, *_ = needs(db, job).values()
    fail(db, first)

    def late(*found: Any) -> set[UUID]:
        with transaction(engine) as other:
            retry(other, DEFAULT_PROJECT_ID, job.id)
        return lock_free(*found)

    monkeypatch.setattr(moves, "lock_free", late)
    assert cancel_needless(db) == 0
    assert second.status == "queued"


def test_retry_waits_until_what_is_needed_has_been_cancelled(db: Session) -> None:
    job = accepted(db, **TRAINED)
    running = start(db, teacher_of(db, job))
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
    with pytest.raises(InvalidMove, match="wait a moment"):
        retry(db, DEFAULT_PROJECT_ID, job.id)
    queue.stop(db, running.id, 1)
    delete_job(db, DEFAULT_PROJECT_ID, running.id)
    with pytest.raises(DependencyNotFound, match="clone it"):
        retry(db, DEFAULT_PROJECT_ID, job.id)


def test_clone_makes_all_anew_but_keeps_a_teacher_that_is_there(db: Session) -> None:
    job = accepted(db, **TRAINED)
    unfinished = clone(db, DEFAULT_PROJECT_ID, job.id)
    assert teacher_of(db, unfinished).id != teacher_of(db, job).id
    teacher = teacher_of(db, job)
    add_version(db, "pets-afd-teacher", bundle=bundle(labels=["cat", "dog"]))
    succeed(db, teacher)
    copy = clone(db, DEFAULT_PROJECT_ID, job.id)
    assert (copy.status, copy.spec["models"]) == ("queued", {"teacher": "pets-afd-teacher@1"})
    compared = accepted(db, **COMPARED)
    made = teacher_of(db, compared)
    version = add_version(db, "of-comparison", bundle=bundle(labels=["cat", "dog"]))
    ready = {"name": "of-comparison", "version": 1, "status": "ready", "digest": version.digest}
    queue.succeed(db, start(db, made).id, 1, {"model": ready})
    other = clone(db, DEFAULT_PROJECT_ID, compared.id)
    assert parse_spec(other.spec).models == {"teacher": "of-comparison@1"}, "though its runs are not there yet"
    assert "models/teacher" not in needs(db, other)
    delete_model(db, DEFAULT_PROJECT_ID, "of-comparison")
    assert teacher_of(db, clone(db, DEFAULT_PROJECT_ID, compared.id)).id != made.id
    compared = accepted(db, **FRSKD)
    other = clone(db, DEFAULT_PROJECT_ID, compared.id)
    assert needs(db, other).keys() == needs(db, compared).keys()
    assert other.name == compared.name == "pets-frskd-compared"
    assert needs(db, other)["runs/frskd/1"].spec["output_model"] == "pets-frskd-frskd"
    assert not {one.id for one in needs(db, other).values()} & {one.id for one in needs(db, compared).values()}


def test_whoever_writes_at_the_same_time_nobody_waits_for_each_other(engine: Engine, db: Session) -> None:
    for _ in range(4):
        job = accepted(db, **COMPARED)
        queued = [other for other in needs(db, job).values() if other.status == "queued"]
        teacher, run = (start(db, other).id for other in queued[:2])
        whole = job.id
        writes: list[Callable[[Session], object]] = [
            lambda s, one=teacher: queue.fail(s, one, 1, ExitReason.ERROR, {"message": "x"}, retryable=False),
            lambda s, one=run: queue.fail(s, one, 1, ExitReason.ERROR, {"message": "x"}, retryable=False),
            lambda s, one=whole: wishes.pause(s, DEFAULT_PROJECT_ID, one),
            lambda s, one=whole: wishes.cancel(s, DEFAULT_PROJECT_ID, one),
            reap,
        ]

        def write(what: Callable[[Session], object]) -> None:
            with suppress(InvalidMove), transaction(engine) as session:
                what(session)

        with ThreadPoolExecutor(len(writes)) as pool:
            list(pool.map(write, writes))
        reap(db)
        db.commit()
        family = [*needs(db, job).values(), job]
        assert {one.status for one in family} <= {"failed", "cancelled", "cancelling"}


def test_teacher_and_runs_read_the_version_that_a_schedule_makes_first(db: Session) -> None:
    dataset = {"name": "pets", "source": {"public": "fashion-mnist"}}
    new = submit_plan(db, DEFAULT_PROJECT_ID, COMPARED, dataset, "", schedule="nightly").job
    validation, teacher, run, *_ = [other for other, _ in needed(db, new.id)]
    assert validation.method == "validate-dataset"
    assert teacher.spec["datasets"] == run.spec["datasets"] == {"train": "pets@2"}
    assert statuses([teacher, run]) == ["waiting", "waiting"]
    assert [other.id for other, role in needed(db, teacher.id) if role is None] == [validation.id]
    assert {one.schedule for one in (teacher, run)} == {"nightly"}
    queue.succeed(db, start(db, validation).id, 1, {})
    db.expire_all()
    assert statuses([teacher, run]) == ["queued", "waiting"]


def test_what_is_needed_is_not_deleted(db: Session) -> None:
    job = accepted(db, **FRSKD)
    run = next(iter(needs(db, job).values()))
    succeed(db, run)
    with pytest.raises(JobInUse, match=f"needed by job {job.id}"):
        delete_job(db, DEFAULT_PROJECT_ID, run.id)


BIRDS = {"train": "birds"}
ESTIMATE = {"method": "estimate", "datasets": {"train": "pets"}}
PHOTOS = {"datasets": {"train": "photos"}}
WRONG: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    ({**FRSKD, "compare": {"baselines": ["supervise"]}}, ("compare", "baselines", 0), "Did you mean supervised"),
    ({**FRSKD, "compare": {"baselines": ["supervised", "sasrec"]}}, ("compare", "baselines", 1), "another task"),
    ({**FRSKD, "compare": {"baselines": ["afd"]}}, ("compare", "baselines", 0), "afd needs .* 'teacher'"),
    ({**FRSKD, "compare": {"baselines": ["frskd"]}}, ("compare", "baselines", 0), "is what is compared"),
    (
        {**COMPARED, "config": {"kd_weight": 0}},
        ("compare", "baselines", 1),
        "kd cannot take these settings: kd_weight and beta are both 0",
    ),
    ({**FRSKD, "digests": {"models/none": "d" * 64}}, ("digests", "models/none"), "no such reference"),
    ({**FRSKD, "datasets": {"train": "rows"}}, ("datasets", "train"), "neither a test nor a val"),
    ({**FRSKD, "models": {"tutor": "vet"}}, ("models", "tutor"), "no role 'tutor'"),
    ({**FRSKD, "teacher": "vet"}, ("teacher",), "no role 'teacher'"),
    ({**RKSA, "datasets": {"train": "taps"}}, ("datasets", "train"), "events held out.* neither a test nor a val"),
    ({**RKSA, "datasets": {"train": "pets"}}, ("datasets", "train"), "holds pictures; rksa needs events"),
    ({**RKSA, "compare": {"baselines": ["supervised"]}}, ("compare", "baselines", 0), "another task"),
    ({**RKSA, "compare": {"baselines": ["untied"]}}, ("compare", "baselines", 0), "Baselines of rksa: bpr-mf, "),
    ({**RKSA, "models": {"init": "shop"}}, ("models", "init"), r"different networks.* or train rksa from it alone\.$"),
    (
        {**RKSA, "method": "gru4rec", "models": {"init": "shop"}},
        ("models", "init"),
        r"Leave init out; or train gru4rec from it alone, and name what that makes .* as models\.gru4rec\.$",
    ),
    (
        {"method": "compare", "datasets": {"train": "clicks"}, "models": {"init": "shop"}, "config": {"of": "rksa"}},
        ("models", "init"),
        "Leave init out",
    ),
    (
        {**RKSA, "method": "gru4rec", "models": {"init": "shop"}, "compare": {"baselines": ["untied"]}},
        ("models", "init"),
        "Leave init out",
    ),
    (
        {"method": "rksa", "datasets": {"train": "clicks"}, "models": {"init": "shop"}},
        ("models", "init"),
        "is a gru4rec; rksa goes on from one of its own",
    ),
    ({**FRSKD, "datasets": {"train": "clicks"}}, ("datasets", "train"), "holds events; frskd needs pictures"),
    ({"method": "evaluate", "datasets": {"d": "pets"}, "compare": {}}, ("compare",), "trains nothing"),
    ({**AFD}, ("models", "teacher"), "needs the name of a"),
    ({**AFD, "teacher": "nobody"}, ("teacher",), "no model 'nobody'"),
    ({**AFD, "datasets": BIRDS, "teacher": "vet"}, ("teacher",), r"2 classes \(cat, dog\).* 3 classes \(owl"),
    ({**TRAINED, "teacher": {"train": {"dataset": "birds"}}}, ("teacher",), "3 classes.* 2 classes"),
    ({**AFD, "datasets": {"train": "snaps"}, "teacher": "vet"}, ("datasets", "train"), "have no labels: a classifier"),
    ({**TRAINED, "teacher": {"train": {"dataset": "snaps"}}}, ("teacher", "train", "dataset"), "have no labels"),
    ({**FRSKD, "datasets": {"train": "snaps"}}, ("datasets", "train"), "have no labels"),
    ({**TRAINED, "teacher": {"train": {"dataset": "bats"}}}, ("teacher", "train", "dataset"), "no data set 'bats'"),
    ({**TRAINED, "teacher": {"init": "nobody"}}, ("teacher", "init"), "no model 'nobody'"),
    (
        {**TRAINED, "datasets": {"train": "pets", "unlabelled": "photos"}},
        ("datasets", "unlabelled"),
        "unlabelled pictures are coloured, those with labels grey",
    ),
    ({**TRAINED, **PHOTOS, "teacher": {"train": {"dataset": "pets"}}}, ("teacher", "train", "dataset"), "reads grey"),
    ({**AFD, **PHOTOS, "teacher": "vet"}, ("teacher",), "reads grey pictures"),
    ({**AFD, **PHOTOS, "models": {"teacher": "vet"}}, ("models", "teacher"), "reads grey pictures"),
    ({**AFD, **PHOTOS, "teacher": {"init": "vet"}}, ("teacher", "init"), "reads grey pictures.* has coloured"),
    (
        {**AFD, "teacher": {"init": "vet", "finetune": {"model": "resnet20"}}},
        ("teacher", "finetune", "model"),
        "is a mean-linear, resnet20 is asked for",
    ),
    ({**AFD, "config": {"model": "resnet8"}, "models": {"init": "vet", "teacher": "vet"}}, ("config", "model"), "auto"),
    ({**TRAINED, "method": "frskd"}, ("teacher",), "no role 'teacher'"),
    ({**TRAINED, "method": "estimate", "config": {"of": "afd"}}, ("teacher",), "a teacher that exists"),
    ({**ESTIMATE, "datasets": {"train": "snaps"}, "config": {"of": "frskd"}}, ("datasets", "train"), "have no labels"),
    ({**ESTIMATE, "datasets": BIRDS, "teacher": "vet", "config": {"of": "afd"}}, ("teacher",), "2 classes.* 3 classes"),
    (
        {**ESTIMATE, "models": {"init": "vet"}, "config": {"of": "supervised", "config": {"model": "resnet8"}}},
        ("config", "config", "model"),
        "resnet8 is asked for",
    ),
]


@pytest.mark.parametrize(("request_", "path", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_does_not_fit_is_refused_where_it_stands(
    db: Session, request_: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(RequestRefused, match=message) as refused:
        accept(db, DEFAULT_PROJECT_ID, parse_spec(request_))
    assert [fault.path for fault in refused.value.faults] == [path]
    assert count(db) == 0


def test_features_alone_may_come_from_a_teacher_of_other_classes(db: Session) -> None:
    job = accepted(db, **{**AFD, "datasets": BIRDS}, teacher="vet", config={"kd_weight": 0})
    assert job.status == "queued"


def test_a_stored_comparison_can_be_submitted_again(db: Session) -> None:
    job = accepted(db, **COMPARED, name="trial")
    again = accepted(db, **job.spec)
    assert needs(db, again).keys() == needs(db, job).keys()
    assert db.scalars(select(JobDependency.depends_on).where(JobDependency.job_id == again.id)).all()
    assert UUID(str(again.id)) != job.id
