"""What an attempt uses: readings of a process, and of GPUs as nvidia-smi tells them."""

import errno
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Event

import psutil
import pytest

from services.worker.usage import UsageMeter, gpu_figures


def test_a_reading_has_the_seconds_since_the_job_began():
    began = datetime.now(UTC) - timedelta(hours=1)
    step, found = UsageMeter(os.getpid(), (), began, every_s=3600).read()
    assert 3600 <= step < 3700
    assert set(found) == {"resources/cpu", "resources/memory"}
    assert found["resources/memory"] > 1
    assert found["resources/cpu"] >= 0


def test_of_a_process_that_is_gone_there_is_nothing_to_read():
    assert UsageMeter(2**22 + 1, (), None, every_s=1).read()[1] == {}


def test_gpus_that_do_not_tell_are_left_out():
    assert gpu_figures("30, 1000\n50, 3000\n") == {"gpu": 40.0, "gpu_memory": pytest.approx(4194.304)}
    assert gpu_figures("[N/A], 1000\n") == {"gpu_memory": pytest.approx(1048.576)}
    assert gpu_figures("") == {}


def test_a_reading_that_fails_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch):
    found: SimpleQueue[Mapping[str, float]] = SimpleQueue()
    children, failures = psutil.Process.children, [OSError(errno.EMFILE, "Too many open files")]

    def fails_once(self: psutil.Process, recursive: bool) -> list[psutil.Process]:
        if failures:
            raise failures.pop()
        return children(self, recursive)

    monkeypatch.setattr(psutil.Process, "children", fails_once)
    with UsageMeter(os.getpid(), (), None, every_s=0.001).told(lambda _, values: found.put(values)):
        assert found.get(timeout=30)["resources/memory"] > 1
    assert not failures


def test_nobody_waits_for_a_reading_that_hangs_and_it_is_not_told_late(monkeypatch: pytest.MonkeyPatch):
    begun, answers, told = Event(), Event(), []
    meter = UsageMeter(os.getpid(), (), None, every_s=0.001)

    def hangs() -> dict[str, float]:
        begun.set()
        answers.wait()
        return {"gpu": 1.0}

    monkeypatch.setattr(meter, "_of_gpus", hangs)
    with meter.told(lambda *reading: told.append(reading)):
        assert begun.wait(30)
    (thread,) = [one for one in threading.enumerate() if one.name == f"octavo-usage-{os.getpid()}"]
    answers.set()
    thread.join(30)
    assert not told
