"""How busy a worker's GPUs are, for Prometheus, as `nvidia-smi` tells it when it is asked."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.worker.devices import Gpu
from services.worker.readings import Readings

log = structlog.get_logger()
_KEPT_S = 5.0
_ANSWER_WITHIN_S = 5.0
_WAITED_FOR_S = 6.0
"""Longer than `nvidia-smi` may take: one that a driver holds fast does not end when it is killed."""
_MIB = float(1 << 20)
_FIELDS: tuple[tuple[str, str, str, float], ...] = (
    ("utilization.gpu", "octavo_gpu_utilisation_ratio", "Share of the last moment in which a kernel ran.", 0.01),
    ("memory.used", "octavo_gpu_memory_used_bytes", "Memory in use, by whomever.", _MIB),
    ("memory.total", "octavo_gpu_memory_bytes", "Memory it has.", _MIB),
    ("temperature.gpu", "octavo_gpu_temperature_celsius", "Temperature of the chip.", 1.0),
    ("power.draw", "octavo_gpu_power_watts", "Power it draws.", 1.0),
)


class GpuMetrics(Collector):
    """Figures of these GPUs; what a GPU does not tell is left out, and all of it where `nvidia-smi` does not answer."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = tuple(gpus)
        self._readings = Readings(_ask, _KEPT_S, _WAITED_FOR_S)

    def describe(self) -> Iterator[Metric]:
        """The names, without asking."""
        return _metrics(self._gpus, {})

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        return _metrics(self._gpus, self._answer() if self._gpus else {})

    def _answer(self) -> dict[str, list[str]]:
        try:
            return self._readings.newest()
        except TimeoutError:
            log.warning("gpus_not_read", error="nvidia-smi hangs")
            return {}


def _metrics(gpus: Sequence[Gpu], found: dict[str, list[str]]) -> Iterator[Metric]:
    for place, (_, name, meaning, unit) in enumerate(_FIELDS):
        gauge = GaugeMetricFamily(name, meaning, labels=["gpu", "model"])
        for index, gpu in enumerate(gpus):
            value = _number(found.get(gpu.uuid, ()), place)
            if value is not None:
                gauge.add_metric([str(index), gpu.name], value * unit)
        yield gauge


def _number(values: Sequence[str], place: int) -> float | None:
    try:
        return float(values[place])
    except (IndexError, ValueError):  # "[N/A]", "[Not Supported]"
        return None


def _ask() -> dict[str, list[str]]:
    """UUID → the fields of each GPU of the machine."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    fields = ",".join(["uuid", *(field for field, *_ in _FIELDS)])
    query = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("gpus_not_read", error=str(error))
        return {}
    rows = ([part.strip() for part in line.split(",")] for line in answer.stdout.splitlines() if line.strip())
    return {row[0]: row[1:] for row in rows}
