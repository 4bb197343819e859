"""The platform's own jobs, beside the training methods: same queue, same child process, same events."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.data.config import ValidationConfig
from libs.models.compare_config import CompareConfig
from libs.models.estimate_config import EstimateConfig
from libs.models.update_config import UpdateConfig
from libs.registry.import_config import ImportOnnxConfig, ImportWeightsConfig
from libs.training.run import Inputs, Outcome, Run


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvaluateConfig(_Config):
    """Measure a registered model on a data set."""

    split: Literal["train", "val", "test", "all"] = Field(
        default="test", description="What to measure on; all: pictures only."
    )
    batch_size: int = Field(
        default=64, ge=1, le=4096, description="Pictures or histories that go through the model at a time."
    )
    worst: int = Field(default=50, ge=0, le=1000, description="How many of the worst pictures a report shows.")


class PredictConfig(_Config):
    """Predict every picture of a data set; a picture that cannot be read gets a row with its error."""

    split: Literal["train", "val", "test", "all"] = Field(default="all", description="Which pictures to predict.")
    batch_size: int = Field(default=64, ge=1, le=4096, description="Pictures that go through the model at a time.")
    top_k: int = Field(default=5, ge=1, le=100, description="How many classes a row names, the most probable first.")


@dataclass(frozen=True, slots=True)
class PlatformTask:
    """One task: its config class and its entry point, `run(config, inputs, run) -> Outcome`.

    Attributes:
        uses_gpu: device `auto` takes a GPU for it where there is one.
        trains: it takes as long as a training, and queues where trainings do.
        gathers: what its job wants of a worker is for the jobs it waits for; itself it takes a place in `short`.
    """

    name: str
    summary: str
    config: type[BaseModel]
    entry: str
    uses_gpu: bool = False
    trains: bool = False
    gathers: bool = False

    def load(self) -> Callable[[Any, Inputs, Run], Outcome]:
        """Import and return the entry point."""
        module, _, function = self.entry.partition(":")
        loaded: Callable[[Any, Inputs, Run], Outcome] = getattr(importlib.import_module(module), function)
        return loaded


TASKS: dict[str, PlatformTask] = {
    task.name: task
    for task in (
        PlatformTask(
            "validate-dataset",
            "Check an upload and make a data set of it.",
            ValidationConfig,
            "libs.data.validate:run",
        ),
        PlatformTask(
            "estimate",
            "What a training would cost: parameters, memory and time, from three real steps.",
            EstimateConfig,
            "libs.models.estimate:run",
            uses_gpu=True,
        ),
        PlatformTask(
            "compare",
            "Set a method beside its baselines over several seeds, once their trainings have ended.",
            CompareConfig,
            "libs.serving.comparison.task:run",
            gathers=True,
        ),
        PlatformTask("evaluate", "Measure a model on a data set.", EvaluateConfig, "libs.serving.evaluate:run"),
        PlatformTask("predict", "Predict every picture of a data set.", PredictConfig, "libs.serving.predict:run"),
        PlatformTask(
            "update",
            "Go on training a recommender on newer events, and keep it if it is no worse on them.",
            UpdateConfig,
            "libs.models.update:run",
            uses_gpu=True,
            trains=True,
        ),
        PlatformTask(
            "import-onnx",
            "Make a served model of an ONNX file.",
            ImportOnnxConfig,
            "libs.registry.importing:run",
        ),
        PlatformTask(
            "import-safetensors",
            "Make a served model of weights and the name of their architecture.",
            ImportWeightsConfig,
            "libs.models.import_weights:run",
        ),
    )
}
