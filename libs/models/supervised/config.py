"""Hyper-parameters of supervised training: the shared ones, nothing else."""

from libs.training.config import ImageTrainingConfig


class SupervisedConfig(ImageTrainingConfig):
    """Cross-entropy training of one classifier."""
