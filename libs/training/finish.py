"""What every classifier training does after its last step: calibrate, measure, export, report.

Imported before the first step, so torchmetrics, ONNX Runtime and matplotlib, which take seconds, are imported where
they are used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from libs.data.images import ImageSplit
from libs.serving.bundle import ClassifierBundle, Lineage
from libs.training.classification import FittedClassifier
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured
from libs.training.processes import join_processes
from libs.training.run import Outcome, Run
from libs.training.window import NotFiniteError

if TYPE_CHECKING:
    from libs.training.report.page import Section


@dataclass(frozen=True, slots=True)
class Trained:
    """A classifier that has been fitted, and what it was fitted with.

    Attributes:
        method: name in the catalog.
        title: what the report is headed.
        architecture: name `libs.models.backbones` builds the classifier by.
        classifier: holds the chosen weights.
    """

    method: str
    title: str
    architecture: str
    classifier: nn.Module
    data: ClassificationData
    config: ImageTrainingConfig
    fitted: FittedClassifier


@dataclass(frozen=True, slots=True)
class ReportPart:
    """What a method adds to the report.

    Attributes:
        sections: of the page.
        details: JSON values for `report.json` and the outcome's details.
        data: JSON values for `report.json` alone, where they are too large for a job's row.
    """

    sections: Sequence["Section"] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def finish_classifier(trained: Trained, run: Run, method_part: Callable[[], ReportPart] = ReportPart) -> Outcome:
    """Calibrate, export and report a trained classifier; only the main process writes.

    Args:
        method_part: makes what the method itself adds to the report; called in the main process only.

    Returns:
        Figures of the chosen weights (`val/…`, `test/…`), bundle, report, and in `details` what the run was.

    Raises:
        NotFiniteError: the classifier answers NaN or infinity in evaluation mode, though its training losses did not.
    """
    if not join_processes(run.device).main:
        return Outcome()
    _check_finite(trained.fitted)
    temperature = _temperature(trained)
    metrics = final_figures(trained.fitted, temperature)
    run.progress(1.0, "exporting")
    bundle = _export(trained, run, metrics, temperature)
    run.progress(1.0, "writing the report")
    part = method_part()
    _report(trained, run.folder / "report", bundle, metrics, part)
    return Outcome(
        metrics=metrics,
        bundle=run.folder / "bundle",
        report=run.folder / "report",
        details={**_details(trained, bundle), **part.details},
    )


def _check_finite(fitted: FittedClassifier) -> None:
    for split, measured in (("val", fitted.val), ("test", fitted.test)):
        if measured is None:
            continue
        broken = int((~measured.logits.isfinite()).any(1).sum())
        if broken:
            raise NotFiniteError(
                f"the trained network's answers are not finite for {broken} of the {len(measured.labels)} pictures of "
                f"the {split} split. Try a lower lr, warmup_steps, clip_grad_norm, or amp: off."
            )


def final_figures(fitted: FittedClassifier, temperature: float) -> dict[str, float]:
    """`val/…` and `test/…` of the chosen weights; `…_calibrated` with the temperature applied."""
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


def _temperature(trained: Trained) -> float:
    from libs.training.calibration import fit_temperature

    measured = trained.fitted.val
    return (
        1.0 if measured is None or not trained.config.calibrate else fit_temperature(measured.logits, measured.labels)
    )


def _export(trained: Trained, run: Run, metrics: Mapping[str, float], temperature: float) -> ClassifierBundle:
    from libs.training.export import export_classifier

    bundle = export_classifier(
        trained.classifier,
        run.folder / "bundle",
        architecture=trained.architecture,
        labels=trained.data.classes,
        recipe=trained.data.recipe,
        pictures=_unseen(trained.data),
        lineage=lineage_of(trained, run.seed),
        metrics=metrics,
        temperature=temperature,
    )
    if bundle.parity is not None and not bundle.parity.passed:
        run.log("the ONNX model differs from the trained one", "warning", **bundle.parity.model_dump())
    return bundle


def lineage_of(trained: Trained, seed: int) -> Lineage:
    """Where the model comes from, as far as a method can know; the platform adds job, parents and code version."""
    digests = {"train": trained.data.digest}
    if trained.data.unlabelled is not None:
        digests["unlabelled"] = trained.data.unlabelled.split.manifest.digest
    return Lineage(
        method=trained.method,
        dataset_digests=digests,
        seed=seed,
        config=trained.config.model_dump(mode="json"),
    )


def _unseen(data: ClassificationData) -> ImageSplit:
    """Pictures for the parity gate, preferably some the model was not trained on."""
    return data.test or data.val or data.train


def _report(
    trained: Trained, folder: Path, bundle: ClassifierBundle, metrics: Mapping[str, float], part: ReportPart
) -> None:
    from libs.training.training_report import ReportContent, write_training_report

    content = ReportContent(
        title=trained.title,
        data=trained.data,
        config=trained.config,
        fitted=trained.fitted,
        bundle=bundle,
        metrics=metrics,
        sections=part.sections,
        method_details={**part.details, **part.data},
    )
    write_training_report(folder, content)


def _details(trained: Trained, bundle: ClassifierBundle) -> dict[str, Any]:
    fitted = trained.fitted
    return {
        "architecture": trained.architecture,
        "parameters": bundle.parameters,
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        "chosen_epoch": fitted.chosen_epoch,
        "stopped_early": fitted.stopped_early,
        "temperature": bundle.temperature,
        "parity_passed": bundle.parity is not None and bundle.parity.passed,
    }
