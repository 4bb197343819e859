"""What a child process tells its supervisor: one JSON object a line on a pipe.

The child has no credentials; the supervisor turns these into rows, fenced by the attempt's epoch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from libs.training.run import LogLevel, StopReason


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="constants")


class Started(_Message):
    """The method is loaded and about to run."""

    kind: Literal["started"] = "started"
    device: str


class MetricReported(_Message):
    kind: Literal["metric"] = "metric"
    name: str = Field(max_length=200)
    value: float
    step: int = Field(ge=-(2**63), lt=2**63)


class ProgressReported(_Message):
    kind: Literal["progress"] = "progress"
    fraction: float
    note: str = ""


class Logged(_Message):
    kind: Literal["log"] = "log"
    level: LogLevel = "info"
    message: str
    fields: dict[str, Any] = {}


class ProcessLogged(_Message):
    """A line for the log of the worker, not of the job."""

    kind: Literal["process_log"] = "process_log"
    event: str
    level: LogLevel = "info"
    pid: int
    rank: int = 0
    fields: dict[str, Any] = {}


class PhaseEnded(_Message):
    """A part of the run is over; times in ns since 1970. Told only where somebody traces."""

    kind: Literal["phase"] = "phase"
    name: str = Field(max_length=100)
    began_ns: int = Field(ge=0)
    ended_ns: int = Field(ge=0)


class CheckpointSaved(_Message):
    """A complete, digested checkpoint file lies at `path` (below the attempt folder)."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: Path
    digest: str
    size_bytes: int


class Finished(_Message):
    """The outcome; paths lie below the attempt folder."""

    kind: Literal["finished"] = "finished"
    metrics: dict[str, float]
    bundle: Path | None = None
    report: Path | None = None
    dataset: Path | None = None
    files: dict[str, Path] = {}
    details: dict[str, Any] = {}


class StoppedEarly(_Message):
    """The run obeyed a wish to stop; its last checkpoint has been announced."""

    kind: Literal["stopped"] = "stopped"
    reason: StopReason


class Failed(_Message):
    """The method raised; `user_error` when the request is at fault and a retry is useless."""

    kind: Literal["failed"] = "failed"
    error: str
    message: str
    traceback: str = ""
    user_error: bool = False
    out_of_memory: bool = False
    report: dict[str, Any] | None = Field(default=None, description="What validation found, when data is at fault.")


Message = Annotated[
    Started
    | MetricReported
    | ProgressReported
    | Logged
    | ProcessLogged
    | PhaseEnded
    | CheckpointSaved
    | Finished
    | StoppedEarly
    | Failed,
    Field(discriminator="kind"),
]
message_adapter: TypeAdapter[Message] = TypeAdapter(Message)


class AttemptOrder(BaseModel):
    """`order.json` in the attempt folder: all a child process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    epoch: int
    method: str
    config: dict[str, Any]
    seed: int
    device: str = Field(description="cpu or cuda:N")
    processes: int = Field(default=1, description="More than one: started by torchrun.")
    datasets: dict[str, Path]
    models: dict[str, Path]
    resume_from: Path | None = Field(description="Checkpoint file of an earlier attempt.")
    code_version: str
    traced: bool = Field(default=False, description="Whether somebody wants to know how long each part takes.")
    dataset_digests: dict[str, str] = {}
    model_digests: dict[str, str] = {}
