"""Hyper-parameters of every method that trains a classifier by name. Imports no torch."""

from pydantic import field_validator

from libs.models.backbones.names import check_classifier_name
from libs.training.config import ImageTrainingConfig


class ClassifierConfig(ImageTrainingConfig):
    """The shared hyper-parameters, with a network whose name is known before torch is imported."""

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else check_classifier_name(name)
