"""A comparison whose workers and relay die under it: each run is made once, and the comparison sees all of them."""

from sqlalchemy import func, select

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job
from libs.jobs.dependencies import needed
from libs.jobs.spec import parse_spec
from libs.jobs.submit import accept
from tests.support.platform import Platform, add_digits, assert_ended_once
from tests.support.waiting import until

COMPARISON = {
    "method": "frskd",
    "datasets": {"train": "digits"},
    "config": {"max_steps": 4},
    "compare": {"seeds": [0, 1], "baselines": ["supervised"]},
}


def test_killed_workers_and_a_relay_lose_no_run_and_double_none(octavo: Platform):
    add_digits(octavo)
    with transaction(octavo.engine) as session:
        whole = accept(session, DEFAULT_PROJECT_ID, parse_spec(COMPARISON)).id
        runs = [other.id for other, _ in needed(session, whole)]
    octavo.start_relay()
    together = {"OCTAVO_WORKER_SLOTS": "4"}  # which of the runs comes first is not said
    octavo.start_scripted_worker(**together)
    octavo.allow(2)
    octavo.wait_for_step(runs[0], 2)
    octavo.kill("worker")  # during a run
    octavo.start_scripted_worker("worker-2", **together)
    until(lambda: octavo.job(runs[0]).epoch == 2, "another worker goes on")
    octavo.kill("relay")  # so that nobody rings for the comparison when its last run has ended
    octavo.allow(4)
    for run in runs:
        octavo.wait_for(run, "succeeded")
    assert octavo.job(whole).status == "queued"
    octavo.kill("worker-2")  # between the runs and the comparison
    octavo.start_relay()
    octavo.start_scripted_worker("worker-3")
    job = octavo.wait_for(whole, "succeeded")
    assert job.result["metrics"] == {"frskd/0": 1.0, "supervised/0": 1.0, "frskd/1": 1.0, "supervised/1": 1.0}
    assert octavo.steps_begun_at(runs[0])[-1] == 2
    for run in runs:
        assert_ended_once(octavo, run, steps=4, seed=octavo.job(run).spec["seed"])
    with transaction(octavo.engine) as session:
        assert session.scalars(select(func.count()).select_from(Job)).one() == 5
