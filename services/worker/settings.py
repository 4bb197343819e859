"""Settings of a worker, beside the platform's; `OCTAVO_WORKER_*` variables."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from libs.settings import PlatformSettings


class WorkerSettings(PlatformSettings):
    """What this worker takes and how often it reports."""

    worker_queues: str = Field(
        default="auto",
        description="Queues to take jobs from, as in `cpu,gpu`; auto: short, cpu, and gpu where there is one.",
    )
    worker_slots: int = Field(
        default=0, ge=0, le=64, description="Jobs at a time; 0: one a GPU, or one on a machine without."
    )
    worker_flush_s: float = Field(
        default=0.5, gt=0, le=10, description="Time between two writes of a running job's metrics and logs."
    )
    worker_cache_limit_bytes: int = Field(
        default=50 * 2**30, ge=0, description="Copies of data sets and models kept on this machine."
    )
    worker_store_wait_s: float = Field(
        default=600.0,
        ge=0,
        description="How long what a run has made waits for an artifact store that fails, or a disk that is full.",
    )
    worker_usage_every_s: float = Field(
        default=5.0, gt=0, le=3600, description="Time between two readings of what a job uses; longer in a long job."
    )
    worker_log_lines_per_s: int = Field(default=100, ge=1, description="Lines of a job's log that are kept.")
    worker_log_lines: int = Field(default=20_000, ge=1, description="Lines of one attempt's log that are kept.")

    @property
    def attempts(self) -> Path:
        """Folder of the attempts at work on this machine: `JOB/EPOCH`."""
        return self.home / "attempts"


@cache
def worker_settings() -> WorkerSettings:
    """The settings of this process, read once."""
    return WorkerSettings()


def code_version() -> str:
    """Version of Octavo, written into lineage and worker rows."""
    return version("octavo")
