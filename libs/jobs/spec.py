"""What a job is asked to do: a discriminated union on `method`.

Training methods come from `libs.models.catalog`; the rest are the platform's own tasks
(`libs.jobs.tasks`). A stored spec is complete: every default is written out when it is accepted.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from libs.jobs.names import Name, Reference, readable
from libs.jobs.tasks import TASKS
from libs.jobs.teacher import TeacherPlan
from libs.models.catalog import METHODS, UnknownMethodError
from libs.models.compare_config import Compare
from libs.models.estimate_config import EstimateConfig


def _known(method: str) -> str:
    if method in TASKS or method in METHODS:
        return method
    raise ValueError(str(UnknownMethodError(method, [*METHODS, *TASKS])))


MethodName = Annotated[str, AfterValidator(_known)]
"""A training method or one of the platform's own tasks."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Resources(BaseModel):
    """What a job wants of a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="auto takes a GPU when the worker has one; cuda fails clearly when it has none.",
    )
    gpus: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Processes of one job, started by torchrun: each has its own GPU; on a CPU they share the cores.",
    )
    queue: Literal["auto", "cpu", "gpu"] = Field(
        default="auto",
        description="Which workers may take it; auto: gpu when device is cuda, else short for the platform's own tasks "
        "(validation, evaluation and the like), which wait for no training, and cpu for trainings.",
    )


class JobSpec(BaseModel):
    """A job, complete. `config` is an instance of the method's own config class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodName = Field(description="A training method, or one of: " + ", ".join(sorted(TASKS)) + ".")
    name: Name | None = Field(default=None, description="A name for people. Default: method and data set.")
    datasets: dict[str, Reference] = Field(
        default_factory=dict,
        max_length=8,
        description="Role → data set. Most methods have one role, `train`.",
    )
    models: dict[str, Reference] = Field(
        default_factory=dict,
        max_length=8,
        description="Role → model: `init` for warm starts, `model` to evaluate; `gru4rec` and the like, of jobs about "
        "recommenders, for registered models that are measured beside the job's own.",
    )
    teacher: Reference | TeacherPlan | None = Field(
        default=None,
        description="For methods with a role `teacher`: a model, as in `models`; or a job that makes one first: "
        "`{train: …}` with hyper-parameters of `supervised`, or `{init: MODEL, finetune: …}`. The job waits for it and "
        "is pinned to the version it makes.",
    )
    digests: dict[str, Digest] = Field(
        default_factory=dict,
        max_length=16,
        description="`datasets/train` → SHA-256 of the version it is pinned to; written when the job is accepted. "
        "In a request: refuse the job unless the reference still means this content.",
    )
    output_model: Name | None = Field(default=None, description="Model to add a version to. Default: `name`.")
    seed: int = Field(default=0, ge=0, lt=2**31)
    resources: Resources = Resources()
    priority: int = Field(default=0, ge=-10, le=10)
    timeout_s: float | None = Field(default=None, gt=0, le=30 * 86400)
    max_attempts: int = Field(default=3, ge=1, le=20, description="Attempts before the job fails.")
    config: SerializeAsAny[BaseModel] = Field(description="Hyper-parameters; schema at /v1/methods/{name}.")
    compare: Compare | None = Field(
        default=None,
        description="Run the method and its baselines once for each seed, and report how they differ: the job becomes "
        "one of the task `compare` that waits for them.",
    )

    @field_validator("config", mode="before")
    @classmethod
    def _of_its_method(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("method")
        if name is None or isinstance(value, BaseModel):
            return value
        return config_class(name).model_validate({} if value is None else value)

    @field_validator("teacher", mode="before")
    @classmethod
    def _reference_or_plan(cls, value: Any, info: ValidationInfo) -> str | TeacherPlan | None:
        """By hand, so that a fault leads to the field and not to a member of the union."""
        if value is not None and "teacher" in info.data.get("models", {}):
            raise ValueError("models.teacher names a teacher already; give one of the two")
        match value:
            case None | TeacherPlan():
                return value
            case str():
                return readable(value)
            case dict():
                return TeacherPlan.model_validate(value)
        raise ValueError("give the name of a model, or {train: …}, or {init: MODEL, finetune: …}")

    @property
    def training(self) -> BaseModel:
        """The hyper-parameters of the training that it runs, or estimates; of another task its own config."""
        return self.config.parsed() if isinstance(self.config, EstimateConfig) else self.config

    @property
    def queue(self) -> str:
        """The queue class this job is published on."""
        task = TASKS.get(self.method)
        if task is not None and task.gathers:
            return "short"
        if self.resources.queue != "auto":
            return self.resources.queue
        if self.resources.device == "cuda":
            return "gpu"
        return "short" if task is not None and not task.trains else "cpu"


def config_class(name: str) -> type[BaseModel]:
    """The config class of a method or task."""
    return METHODS[name].config if name in METHODS else TASKS[name].config


def parse_spec(body: dict[str, Any]) -> JobSpec:
    """Validate a job request; a missing `config` means all defaults.

    Raises:
        pydantic.ValidationError: with a location for each offending field (`config`, `beta`).
    """
    return JobSpec.model_validate({"config": {}, **body})
