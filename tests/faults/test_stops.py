"""Running jobs that are told to stop: cancelled, paused, timed out, or handed back by a worker that shuts down."""

import pytest

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Worker
from libs.jobs.errors import InvalidMove
from libs.jobs.reports import newest_checkpoint
from libs.jobs.submit import retry
from libs.jobs.wishes import cancel, pause, resume
from tests.support.platform import Platform, assert_ended_once, scripted_training
from tests.support.waiting import until


def wish(octavo: Platform, what, job_id) -> None:
    with transaction(octavo.engine) as session:
        what(session, DEFAULT_PROJECT_ID, job_id)


def test_cancelled_job_keeps_its_checkpoint_and_a_retry_goes_on_from_it(octavo: Platform):
    job_id = octavo.begun(2)
    wish(octavo, cancel, job_id)
    octavo.wait_for(job_id, "cancelled")
    with transaction(octavo.engine) as session:
        assert newest_checkpoint(session, job_id).step == 2
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["cancelled"]
    assert octavo.versions(job_id) == []
    until(lambda: not octavo.children(), "no child process left")
    with pytest.raises(InvalidMove, match="It has ended"):
        wish(octavo, cancel, job_id)
    with transaction(octavo.engine) as session:
        again = retry(session, DEFAULT_PROJECT_ID, job_id).id
    octavo.allow(6)
    octavo.wait_for(again, "succeeded")
    assert octavo.steps_begun_at(again) == [2]
    assert_ended_once(octavo, again)


def test_child_that_does_not_stop_is_killed_after_its_grace(octavo: Platform):
    octavo.environment["OCTAVO_STOP_GRACE_S"] = "0.3"
    octavo.control("ignore-stop")
    job_id = octavo.begun(2)
    wish(octavo, cancel, job_id)
    octavo.wait_for(job_id, "cancelled")
    until(lambda: not octavo.children(), "no child process left")
    assert any("killed: no stop within" in str(event.data) for event in octavo.events(job_id))


def test_paused_job_gives_its_slot_back_and_goes_on_where_it_was(octavo: Platform):
    job_id = octavo.begun(2)
    wish(octavo, pause, job_id)
    octavo.wait_for(job_id, "paused")
    octavo.allow(6)
    other = octavo.submit(scripted_training())
    octavo.wait_for(other, "succeeded")
    assert octavo.job(job_id).status == "paused"
    wish(octavo, resume, job_id)
    job = octavo.wait_for(job_id, "succeeded")
    assert job.attempts_used == 1
    assert octavo.steps_begun_at(job_id) == [0, 2]
    assert_ended_once(octavo, job_id)


def test_worker_that_shuts_down_hands_its_job_back_without_using_up_an_attempt(octavo: Platform):
    job_id = octavo.begun(2, max_attempts=1)
    assert octavo.terminate("worker") == 0
    job = octavo.job(job_id)
    assert (job.status, job.attempts_used) == ("queued", 0)
    assert octavo.children() == []
    with transaction(octavo.engine) as session:
        assert session.query(Worker).count() == 0
    octavo.allow(6)
    octavo.start_scripted_worker("worker-2")
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["shutdown", "ok"]
    assert octavo.steps_begun_at(job_id) == [0, 2]
    assert_ended_once(octavo, job_id)


def test_job_that_takes_too_long_fails_with_timeout_and_is_not_retried(octavo: Platform):
    octavo.start_relay()
    octavo.start_scripted_worker()
    job_id = octavo.submit(scripted_training(timeout_s=0.5))
    job = octavo.wait_for(job_id, "failed")
    assert job.status_reason == "timeout"
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["timeout"]


def test_error_is_retried_with_backoff_and_a_users_error_is_not(octavo: Platform):
    octavo.control("raise-at-3", "machine")
    octavo.control("raise-at-5", "user")
    octavo.start_relay()
    octavo.start_scripted_worker()
    octavo.allow(6)
    job_id = octavo.submit(scripted_training())
    job = octavo.wait_for(job_id, "failed")
    moves = [event.data["to"] for event in octavo.events(job_id) if event.kind == "status"]
    assert moves == ["queued", "starting", "running", "retry_wait", "queued", "starting", "running", "failed"]
    assert job.error["message"] == "scripted failure at step 5"
    assert "ScriptedError" in job.error["traceback"]
    assert octavo.steps_begun_at(job_id) == [0, 2]
