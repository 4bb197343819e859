"""Supervised training: cross-entropy, nothing else."""

import torch
from torch import Tensor, nn

from libs.data.loading import class_weights
from libs.models.classifier import initial_classifier
from libs.models.supervised.config import SupervisedConfig
from libs.training.classification import fit_classifier
from libs.training.classification_data import open_classification_data
from libs.training.finish import Trained, finish_classifier
from libs.training.objective import CrossEntropy, StepOutput
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run
from libs.training.stem_warning import stem_warning


class Supervised(nn.Module):
    """A classifier and its cross-entropy."""

    def __init__(self, classifier: nn.Module, criterion: CrossEntropy) -> None:
        super().__init__()
        self.classifier = classifier
        self.criterion = criterion

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        """Loss of pictures [B, C, H, W] with labels [B] or label distributions [B, K]."""
        logits = self.classifier(pictures)
        return StepOutput({"ce_classifier": self.criterion(logits, targets)}, {"ce_classifier": 1.0}, logits)


def train(config: SupervisedConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train a classifier on `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_classification_data(inputs.datasets["train"], config)
    architecture, classifier = initial_classifier(config, data, inputs)
    example = torch.zeros(1, data.recipe.channels, data.recipe.height, data.recipe.width)
    if message := stem_warning(classifier, example):
        run.log(message, "warning")
    criterion = CrossEntropy(class_weights(data.train, config), config.label_smoothing)
    fitted = fit_classifier(Supervised(classifier, criterion), data, config, run)
    return finish_classifier(Trained("supervised", architecture, classifier, data, config, fitted), inputs, run)
