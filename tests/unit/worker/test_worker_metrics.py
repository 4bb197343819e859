"""What a relay and a worker show to Prometheus when all is not well, and of GPUs."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from libs.database.engine import make_engine
from services.worker.devices import Gpu, find_gpus
from services.worker.gpu_metrics import GpuMetrics
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
