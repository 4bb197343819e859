"""What an attempt uses: readings of a process, and of GPUs as nvidia-smi tells them."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from services.worker.usage import UsageMeter, gpu_figures


def test_a_reading_has_the_seconds_since_the_job_began():
    began = datetime.now(UTC) - timedelta(hours=1)
    assert not UsageMeter(os.getpid(), (), began, every_s=3600).due()
    meter = UsageMeter(os.getpid(), (), began, every_s=0)
    assert meter.due()
    step, found = meter.read()
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
