"""Processes that are killed with SIGKILL: every job still ends once, with one model version."""

import signal

from tests.support.platform import Platform, assert_ended_once, scripted_training
from tests.support.waiting import until


def test_killed_child_is_retried_from_its_checkpoint(octavo: Platform):
    job_id = octavo.begun(3)
    (child,) = octavo.children()
    child.send_signal(signal.SIGKILL)
    octavo.allow(6)
    octavo.wait_for(job_id, "succeeded")
    first, second = octavo.attempts(job_id)
    assert (first.exit_reason, first.exit_code, first.error["error"]) == ("error", -9, "SIGKILL")
    assert second.exit_reason == "ok"
    assert octavo.steps_begun_at(job_id) == [0, 3]
    assert_ended_once(octavo, job_id)


def test_killed_worker_takes_its_child_along_and_another_worker_goes_on(octavo: Platform):
    job_id = octavo.begun(2)
    octavo.kill("worker")
    until(lambda: not octavo.children(), "the child died with its worker", 10)
    octavo.allow(6)
    octavo.start_scripted_worker("worker-2")
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["worker_lost", "ok"]
    assert octavo.steps_begun_at(job_id)[-1] == 2  # the first attempt's last lines may have died with the worker
    assert_ended_once(octavo, job_id)


def test_worker_lost_too_often_fails_the_job(octavo: Platform):
    job_id = octavo.begun(1, max_attempts=1)
    octavo.kill("worker")
    job = octavo.wait_for(job_id, "failed")
    assert job.status_reason == "worker_lost"
    assert "did not renew its lease" in job.error["message"]
    assert octavo.versions(job_id) == []


def test_killed_relay_delays_jobs_and_loses_none(octavo: Platform):
    running = octavo.begun(2)
    octavo.kill("relay")
    waiting = octavo.submit(scripted_training())
    octavo.allow(6)
    octavo.wait_for(running, "succeeded")
    assert octavo.job(waiting).status == "queued"
    octavo.start_relay()
    octavo.wait_for(waiting, "succeeded")
    assert_ended_once(octavo, running)
    assert_ended_once(octavo, waiting)
