"""What a relay and a worker show to Prometheus when all is not well, and of GPUs."""

from contextlib import nullcontext
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import pytest
from prometheus_client import CollectorRegistry

from libs.database.engine import make_engine
from libs.jobs.figures import QueueFigures
from services.worker import queue_metrics
from services.worker.celery_app import QUEUES
from services.worker.devices import Gpu, find_gpus
from services.worker.gpu_metrics import GpuMetrics
from services.worker.metrics import RelayMetrics
from services.worker.queue_metrics import QueueMetrics

SMI = """#!/bin/sh
case "$1" in
  *utilization*) printf 'GPU-a, 87, 1024, 81920, 66, 312.5\\nGPU-b, [N/A], 0, 81920, 40, [Not Supported]\\n' ;;
  *) printf 'GPU-a, H100, 81920\\nGPU-b, H100, 81920\\n' ;;
esac
"""


def test_without_postgres_the_relay_says_so_and_shows_no_old_figures() -> None:
    engine = make_engine("postgresql+psycopg://octavo@127.0.0.1:1/octavo")
    registry = CollectorRegistry()
    registry.register(QueueMetrics(engine, 30.0))
    assert [(one.name, one.samples[0].value) for one in registry.collect()] == [("octavo_postgres_up", 0.0)]


def test_a_frozen_postgres_holds_up_no_scrape_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = Event(), []

    def hangs(*_: object) -> QueueFigures:
        asked.append(1)
        answers.wait()
        return QueueFigures()

    monkeypatch.setattr(queue_metrics, "_ANSWER_WITHIN_S", 0.01)
    monkeypatch.setattr(queue_metrics, "read_only", nullcontext)
    monkeypatch.setattr(queue_metrics, "queue_figures", hangs)
    registry = CollectorRegistry()
    registry.register(QueueMetrics(make_engine("postgresql+psycopg://octavo@127.0.0.1:1/octavo"), 30.0))
    assert [registry.get_sample_value("octavo_postgres_up") for _ in range(3)] == [0.0] * 3
    assert len(asked) == 1
    (thread,) = [one for one in enumerate_threads() if one.name == "octavo-reading"]
    answers.set()
    thread.join(30)
    assert registry.get_sample_value("octavo_postgres_up") == 1.0


def test_counters_of_a_relay_are_there_before_anything_is_counted() -> None:
    registry = CollectorRegistry()
    RelayMetrics(registry)
    for name in ("published", "rung_again"):
        for queue in QUEUES:
            assert registry.get_sample_value(f"octavo_relay_{name}_total", {"queue": queue}) == 0


def test_each_gpu_shows_what_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    registry = CollectorRegistry()
    registry.register(GpuMetrics(find_gpus()))
    shown = {one.name: [sample.value for sample in one.samples] for one in registry.collect()}
    assert shown == {
        "octavo_gpu_utilisation_ratio": [0.87],
        "octavo_gpu_memory_used_bytes": [1024.0 * 2**20, 0.0],
        "octavo_gpu_memory_bytes": [80.0 * 2**30, 80.0 * 2**30],
        "octavo_gpu_temperature_celsius": [66.0, 40.0],
        "octavo_gpu_power_watts": [312.5],
    }


def test_gpus_that_cannot_be_asked_show_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    registry = CollectorRegistry()
    registry.register(GpuMetrics([Gpu("GPU-a", "H100", 81_920)]))
    assert [sample for one in registry.collect() for sample in one.samples] == []
