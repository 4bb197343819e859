"""Training with FRSKD. The self-teacher is thrown away at the end; the classifier is what is served."""

from torch import nn

from libs.data.loading import class_weights
from libs.models.classifier import initial_classifier
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.method import FRSKD
from libs.training.classification import FittedClassifier, fit_classifier
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.estimate import estimate_outcome
from libs.training.finish import ReportPart, Trained, finish_classifier
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run
from libs.training.stem_warning import stem_warning


def train(config: FrskdConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train a classifier on `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_classification_data(inputs.datasets["train"], config)
    architecture, classifier = initial_classifier(config, data, inputs)
    method = build_method(config, data, classifier)
    log_choices(method, data, run)
    fitted = fit_classifier(method, data, config, run, observe=fusion_figures)
    trained = Trained("frskd", "FRSKD training", architecture, classifier, data, config, fitted)
    return finish_classifier(trained, run, lambda: _report(method, data, config, fitted, run))


def estimate(config: FrskdConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_classification_data(inputs.datasets["train"], config)
    _, classifier = initial_classifier(config, data, inputs)
    return estimate_outcome(build_method(config, data, classifier), data, config, run)


def log_choices(method: FRSKD, data: ClassificationData, run: Run) -> None:
    """Say which levels and which beta are used, and whether the stem fits the pictures."""
    run.log("self-teacher built", beta=method.beta, taps=[tap.path for tap in method.taps])
    if message := stem_warning(method.classifier, data.example):
        run.log(message, "warning")


def build_method(config: FrskdConfig, data: ClassificationData, classifier: nn.Module) -> FRSKD:
    """Classifier, self-teacher and objective as the config describes them."""
    return FRSKD(
        classifier,
        config.taps,
        len(data.classes),
        example=data.example,
        variant=config.variant,
        width=config.width,
        constant_channels=config.constant_channels,
        depth=config.depth,
        repeats=config.repeats,
        num_features=config.num_features,
        alpha=config.alpha,
        beta=config.beta,
        temperature=config.temperature,
        beta_mode=config.beta_mode,
        feature_loss=config.feature_loss,
        sla=config.sla,
        sla_weight=config.sla_weight,
        detach_inputs=config.detach_inputs,
        class_weights=class_weights(data.train, config),
        label_smoothing=config.label_smoothing,
    )


def _report(
    method: FRSKD, data: ClassificationData, config: FrskdConfig, fitted: FittedClassifier, run: Run
) -> ReportPart:
    from libs.models.frskd.report import frskd_report  # matplotlib, which no job should wait for before its first step

    return frskd_report(method, data, config, fitted.history, run)


def fusion_figures(method: nn.Module) -> dict[str, float]:
    """The normalised fusion weights, `fusion/NODE/INPUT` → value."""
    assert isinstance(method, FRSKD)
    return {
        f"fusion/{node}/{position}": float(weight)
        for node, weights in method.self_teacher.fusion_weights().items()
        for position, weight in enumerate(weights)
    }
