"""A teacher that a job has made first: trained, or a registered model adapted to the classes of the job's data."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.jobs.names import Reference
from libs.models.supervised.config import SupervisedConfig


class TeacherTraining(SupervisedConfig):
    """Hyper-parameters of the method `supervised`, and what the teacher is trained on."""

    dataset: Reference | None = Field(default=None, description="Empty: the data set `train` of the job.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(default=None, description="Empty: the job's.")

    @property
    def config(self) -> SupervisedConfig:
        """The hyper-parameters alone."""
        return SupervisedConfig.model_validate(self.model_dump(include=set(SupervisedConfig.model_fields)))


class TeacherPlan(BaseModel):
    """The job that makes the teacher: `train` one, or `finetune` the weights of the model `init`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: TeacherTraining | None = Field(default=None, description="Train a teacher from the beginning.")
    init: Reference | None = Field(default=None, description="The model whose weights the teacher starts from.")
    finetune: TeacherTraining | None = Field(
        default=None, description="How the weights of `init` are trained on; its head is made anew for other classes."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.train is not None and (self.init is not None or self.finetune is not None):
            raise ValueError("give either train, or init with finetune")
        if self.train is None and self.init is None:
            raise ValueError("give train, or init with finetune, or the name of a model")
        return self

    @property
    def training(self) -> TeacherTraining:
        """How it is trained, from the beginning or on."""
        return self.train or self.finetune or TeacherTraining()
