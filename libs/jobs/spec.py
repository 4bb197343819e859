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
    WithJsonSchema,
    field_validator,
)

from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS, UnknownMethodError
from libs.registry.errors import BadReference
from libs.registry.references import check_name, parse_reference


def _usable(name: str) -> str:
    try:
        return check_name(name)
    except BadReference as error:
        raise ValueError(str(error)) from None


def _readable(reference: str) -> str:
    try:
        parse_reference(reference)
    except BadReference as error:
        raise ValueError(str(error)) from None
    return reference


_NAME_PATTERN = "[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"

Name = Annotated[
    str,
    AfterValidator(_usable),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME_PATTERN}$", "maxLength": 64}),
]
"""Lower-case letters, digits, dot, dash, underscore; at most 64; no word of the API's own addresses."""

Reference = Annotated[
    str,
    AfterValidator(_readable),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME_PATTERN}(@[a-z0-9._-]{{1,64}})?$", "maxLength": 129}),
]
"""`name`, `name@3` (a version) or `name@production` (an alias). Without a suffix: the newest ready version."""


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
        description="Role → model: `init` for warm starts, `model` to evaluate.",
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

    @field_validator("config", mode="before")
    @classmethod
    def _of_its_method(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("method")
        if name is None or isinstance(value, BaseModel):
            return value
        return config_class(name).model_validate({} if value is None else value)

    @property
    def queue(self) -> str:
        """The queue class this job is published on."""
        if self.resources.queue != "auto":
            return self.resources.queue
        if self.resources.device == "cuda":
            return "gpu"
        return "short" if self.method in TASKS and not TASKS[self.method].trains else "cpu"


def config_class(name: str) -> type[BaseModel]:
    """The config class of a method or task."""
    return METHODS[name].config if name in METHODS else TASKS[name].config


def parse_spec(body: dict[str, Any]) -> JobSpec:
    """Validate a job request; a missing `config` means all defaults.

    Raises:
        pydantic.ValidationError: with a location for each offending field (`config`, `beta`).
    """
    return JobSpec.model_validate({"config": {}, **body})
