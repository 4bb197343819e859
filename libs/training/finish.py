"""What every classifier training does after its last step: calibrate, measure, export.

Imported before the first step, so torchmetrics and ONNX Runtime, which take seconds, are imported where they are used.
"""

from dataclasses import dataclass

from torch import nn

from libs.data.images import ImageSplit
from libs.serving.bundle import Lineage
from libs.training.classification import Fitted
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured
from libs.training.processes import join_processes
from libs.training.run import Inputs, Outcome, Run


@dataclass(frozen=True, slots=True)
class Trained:
    """A classifier that has been fitted, and what it was fitted with.

    Attributes:
        method: name in the catalog.
        architecture: name `libs.models.backbones` builds the classifier by.
        classifier: holds the chosen weights.
    """

    method: str
    architecture: str
    classifier: nn.Module
    data: ClassificationData
    config: ImageTrainingConfig
    fitted: Fitted


def finish_classifier(trained: Trained, inputs: Inputs, run: Run) -> Outcome:
    """Calibrate and export a trained classifier; only the main process writes.

    Returns:
        Figures of the chosen weights (`val/…`, `test/…`), the bundle, and in `details` what the run was.
    """
    if not join_processes(run.device).main:
        return Outcome()
    from libs.training.calibration import fit_temperature
    from libs.training.export import export_classifier

    run.progress(1.0, "exporting")
    fitted, data = trained.fitted, trained.data
    temperature = 1.0
    if trained.config.calibrate and fitted.val is not None:
        temperature = fit_temperature(fitted.val.logits, fitted.val.labels)
    metrics = final_figures(fitted, temperature)
    bundle = export_classifier(
        trained.classifier,
        run.folder / "bundle",
        architecture=trained.architecture,
        labels=data.classes,
        recipe=data.recipe,
        pictures=_unseen(data),
        lineage=lineage_of(trained, inputs, run.seed),
        metrics=metrics,
        temperature=temperature,
    )
    assert bundle.parity is not None
    if not bundle.parity.passed:
        run.log("the ONNX model differs from the trained one", "warning", **bundle.parity.model_dump())
    return Outcome(
        metrics=metrics,
        bundle=run.folder / "bundle",
        details={
            "architecture": trained.architecture,
            "parameters": bundle.parameters,
            "steps": fitted.steps,
            "epochs": fitted.epochs,
            "chosen_epoch": fitted.chosen_epoch,
            "stopped_early": fitted.stopped_early,
            "temperature": temperature,
            "parity_passed": bundle.parity.passed,
        },
    )


def final_figures(fitted: Fitted, temperature: float) -> dict[str, float]:
    """`val/…` and `test/…` of the chosen weights; calibrated ones with the temperature applied."""
    from libs.training.metrics import validation_figures

    figures: dict[str, float] = {}
    for name, measured in (("val", fitted.val), ("test", fitted.test)):
        if measured is not None:
            figures |= {f"{name}/{key}": value for key, value in validation_figures(measured).items()}
            figures |= {f"{name}/{key}_calibrated": v for key, v in _calibrated(measured, temperature).items()}
    return figures


def _calibrated(measured: Measured, temperature: float) -> dict[str, float]:
    from libs.training.metrics import classification_figures

    figures = classification_figures(measured.logits / temperature, measured.labels)
    return {name: figures[name] for name in ("nll", "ece", "brier")}


def lineage_of(trained: Trained, inputs: Inputs, seed: int) -> Lineage:
    """Where the model comes from, as far as a method can know; the platform adds job and code version."""
    return Lineage(
        method=trained.method,
        dataset_digests={"train": trained.data.digest},
        seed=seed,
        config=trained.config.model_dump(mode="json"),
    )


def _unseen(data: ClassificationData) -> ImageSplit:
    """Pictures for the parity gate, preferably some the model was not trained on."""
    return data.test or data.val or data.train
