"""A disk that is full while a checkpoint is written: the one before stays valid, and the job says so."""

from libs.database.engine import transaction
from libs.jobs.reports import newest_checkpoint
from tests.support.platform import Platform, assert_ended_once
from tests.support.waiting import until


def test_full_disk_fails_the_attempt_and_the_next_goes_on_from_the_old_checkpoint(octavo: Platform):
    octavo.environment["OCTAVO_TEST_CHECKPOINTS"] = "torch"
    octavo.control("limit-files-at-3", "100")
    job_id = octavo.begun(2, max_attempts=2)
    octavo.allow(3)
    until(lambda: octavo.attempts(job_id)[0].exit_reason is not None, "the first attempt failed")
    failed = octavo.attempts(job_id)[0]
    assert failed.exit_reason == "error"
    assert failed.error["error"] == "CheckpointError"
    assert "step 3 could not be written" in failed.error["message"]
    assert "stays valid" in failed.error["message"]
    with transaction(octavo.engine) as session:
        assert newest_checkpoint(session, job_id).step == 2
    (octavo.home / "control" / "limit-files-at-3").unlink()
    octavo.allow(6)
    octavo.wait_for(job_id, "succeeded")
    assert octavo.steps_begun_at(job_id) == [0, 2]
    assert_ended_once(octavo, job_id)
