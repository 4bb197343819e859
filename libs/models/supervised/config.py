"""Hyper-parameters of supervised training: the shared ones, nothing else."""

from libs.models.classifier_config import ClassifierConfig


class SupervisedConfig(ClassifierConfig):
    """Cross-entropy training of one classifier."""
