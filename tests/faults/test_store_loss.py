"""An artifact store that fails when something is to be stored: the run waits for it, and loses nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs.wishes import pause, resume
from tests.support.platform import Platform, assert_ended_once
from tests.support.waiting import until


@contextmanager
def unusable(folder: Path) -> Iterator[None]:
    """A file lies where the store would keep such things."""
    away = folder.with_name(f"{folder.name}-away")
    if folder.exists():
        folder.rename(away)
    folder.touch()
    yield
    folder.unlink()
    if away.exists():
        away.rename(folder)


def test_a_run_that_ends_while_the_store_fails_is_recorded_when_it_is_back(octavo: Platform):
    job_id = octavo.begun(2)
    with unusable(octavo.home / "artifacts" / "folders"):
        octavo.allow(6)
        until(lambda: "store_fails" in octavo.log("worker"), "the model could not be stored")
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["ok"]
    assert any("is waited for" in str(event.data) for event in octavo.events(job_id))
    assert_ended_once(octavo, job_id)


def test_the_checkpoint_of_a_paused_run_is_kept_though_the_store_failed(octavo: Platform):
    job_id = octavo.begun(2)
    with unusable(octavo.home / "artifacts" / "checkpoints"):
        octavo.allow(3)
        until(lambda: "checkpoint_not_stored" in octavo.log("worker"), "the checkpoint could not be stored")
        with transaction(octavo.engine) as session:
            pause(session, DEFAULT_PROJECT_ID, job_id)
        until(lambda: not octavo.children(), "the run has stopped")
    octavo.wait_for(job_id, "paused")
    octavo.allow(6)
    with transaction(octavo.engine) as session:
        resume(session, DEFAULT_PROJECT_ID, job_id)
    octavo.wait_for(job_id, "succeeded")
    assert octavo.steps_begun_at(job_id) == [0, 3]
    assert_ended_once(octavo, job_id)
