"""Supervised training: cross-entropy, nothing else."""

from libs.data.loading import class_weights
from libs.models.classifier import initial_classifier
from libs.models.supervised.config import SupervisedConfig
from libs.training.classification import fit_classifier
from libs.training.classification_data import open_classification_data
from libs.training.estimate import estimate_outcome
from libs.training.finish import Trained, finish_classifier
from libs.training.objective import CrossEntropy, PlainStep
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run
from libs.training.stem_warning import stem_warning


def train(config: SupervisedConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train a classifier on `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_classification_data(inputs.datasets["train"], config)
    architecture, classifier = initial_classifier(config, data, inputs)
    if message := stem_warning(classifier, data.example):
        run.log(message, "warning")
    criterion = CrossEntropy(class_weights(data.train, config), config.label_smoothing)
    fitted = fit_classifier(PlainStep(classifier, criterion), data, config, run)
    trained = Trained("supervised", "Supervised training", architecture, classifier, data, config, fitted)
    return finish_classifier(trained, run)


def estimate(config: SupervisedConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_classification_data(inputs.datasets["train"], config)
    _, classifier = initial_classifier(config, data, inputs)
    return estimate_outcome(PlainStep(classifier, CrossEntropy()), data, config, run)
