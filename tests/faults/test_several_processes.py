"""A job of several processes under torchrun: whatever dies, no process of it remains."""

import signal

from tests.support.platform import Platform, assert_ended_once
from tests.support.waiting import until

TWO_ON_CPU = {"resources": {"device": "cpu", "gpus": 2}}


def start_two_ranks(octavo: Platform):
    job_id = octavo.begun(2, **TWO_ON_CPU)
    until(lambda: len(octavo.children()) == 3, "torchrun and its two ranks run")
    return job_id


def test_ranks_die_with_their_worker_and_the_job_goes_on(octavo: Platform):
    job_id = start_two_ranks(octavo)
    octavo.kill("worker")
    until(lambda: not octavo.children(), "torchrun and its ranks died with the worker", 20)
    octavo.allow(6)
    octavo.start_scripted_worker("worker-2")
    octavo.wait_for(job_id, "succeeded")
    assert_ended_once(octavo, job_id)


def test_killed_rank_ends_the_attempt_and_the_next_one_goes_on(octavo: Platform):
    job_id = start_two_ranks(octavo)
    ranks = [process for process in octavo.children() if "torch.distributed.run" not in process.cmdline()]
    ranks[1].send_signal(signal.SIGKILL)
    octavo.allow(6)
    octavo.wait_for(job_id, "succeeded")
    assert_ended_once(octavo, job_id)


def test_shutdown_reaches_every_rank(octavo: Platform):
    job_id = start_two_ranks(octavo)
    assert octavo.terminate("worker") == 0
    assert octavo.job(job_id).status == "queued"
    until(lambda: not octavo.children(), "no process left", 20)
