"""The report every classifier training leaves.

`report.html`, `report.json`, `metrics.csv`, `augmented.png` and TensorBoard events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.augmentation_preview import augmentation_preview
from libs.data.contact_sheet import picture_grid
from libs.data.images import ImageSplit
from libs.serving.bundle import ClassifierBundle
from libs.training.calibration import ReliabilityBins, reliability_bins
from libs.training.classification import FittedClassifier
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.confusion import confusion_matrix
from libs.training.evaluation import Measured
from libs.training.metrics import per_class_figures
from libs.training.report.classification import Bins, ClassifierResult, classifier_sections, worst_positions
from libs.training.report.files import write_json, write_metrics_csv, write_tensorboard
from libs.training.report.page import Gallery, Section, Thumbnail, Tile, render_page
from libs.training.report.pictures import picture_uri
from libs.training.report.training import accuracy_chart, bundle_tiles, course_section, history_json, settings_section

WORST_IN_JSON = 50
CONFUSION_CLASSES_IN_JSON = 1000
PREVIEW_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report is made of.

    Attributes:
        metrics: final figures, as in the outcome.
        sections: what the method itself has to show.
        method_details: and what it adds to `report.json`, JSON values only.
    """

    title: str
    data: ClassificationData
    config: ImageTrainingConfig
    fitted: FittedClassifier
    bundle: ClassifierBundle
    metrics: Mapping[str, float]
    sections: Sequence[Section]
    method_details: Mapping[str, Any]


def write_training_report(folder: Path, content: ReportContent) -> None:
    """Write all files of the report into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data, history = content.data, content.fitted.history
    result = _result(content)
    sections = [
        course_section(history, content.fitted.chosen_step, [accuracy_chart(history)], "images"),
        *content.sections,
    ]
    if result is not None:
        sections += classifier_sections(result, content.bundle.temperature)
    preview = augmentation_preview(data.train, data.recipe, content.config, seed=content.bundle.lineage.seed or 0)
    sections += [_augmentation_section(preview, data.classes), settings_section(content.config.model_dump(mode="json"))]
    page = render_page(content.title, _subtitle(content), _tiles(content), sections)
    (folder / "augmented.png").write_bytes(picture_grid([picture for picture, _ in preview], PREVIEW_COLUMNS))
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_json(folder / "report.json", _as_json(content, result))
    write_metrics_csv(folder / "metrics.csv", history)
    write_tensorboard(folder / "tensorboard", history)


def _augmentation_section(preview: Sequence[tuple[NDArray[np.uint8], int]], classes: Sequence[str]) -> Section:
    pictures = [Thumbnail(picture_uri(picture), classes[label]) for picture, label in preview]
    return Section(
        "What the training sees",
        "Training pictures after the random changes of the first epoch, before any mixing; also in augmented.png.",
        [Gallery(pictures, columns=2 * PREVIEW_COLUMNS)],
    )


def _measured(content: ReportContent) -> tuple[ImageSplit, Measured] | None:
    """The test split, else the validation split."""
    fitted, data = content.fitted, content.data
    if fitted.test is not None and data.test is not None:
        return data.test, fitted.test
    if fitted.val is not None and data.val is not None:
        return data.val, fitted.val
    return None


def _result(content: ReportContent) -> ClassifierResult | None:
    found = _measured(content)
    if found is None:
        return None
    split, measured = found
    calibrated = measured.logits / content.bundle.temperature
    return ClassifierResult(
        split=split.name,
        classes=content.data.classes,
        labels=measured.labels.numpy(),
        probabilities=calibrated.double().softmax(1).numpy(),
        per_class={name: v.numpy() for name, v in per_class_figures(measured.logits, measured.labels).items()},
        raw=_bins(reliability_bins(measured.logits, measured.labels)),
        calibrated=_bins(reliability_bins(calibrated, measured.labels)),
        picture=split.picture,
        name=split.name_of,
    )


def _bins(bins: ReliabilityBins) -> Bins:
    return Bins(bins.confidence.numpy(), bins.accuracy.numpy(), bins.pictures.numpy())


def _subtitle(content: ReportContent) -> str:
    manifest = content.data.train.manifest
    sizes = ", ".join(f"{counts.pictures:,} {split}" for split, counts in manifest.splits.items())
    return (
        f"{content.bundle.architecture} on {len(manifest.classes)} classes ({sizes}), data set {manifest.digest[:12]}, "
        f"seed {content.bundle.lineage.seed}, {content.fitted.steps:,} steps in {content.fitted.epochs} epochs"
        + (", stopped early" if content.fitted.stopped_early else "")
        + "."
    )


def _tiles(content: ReportContent) -> list[Tile]:
    found = _measured(content)
    tiles = [] if found is None else _figure_tiles(content.metrics, found[0].name)
    return tiles + bundle_tiles(content.bundle)


def _figure_tiles(figures: Mapping[str, float], split: str) -> list[Tile]:
    return [
        Tile("Accuracy", f"{figures[f'{split}/accuracy']:.1%}", split),
        Tile("Balanced accuracy", f"{figures[f'{split}/balanced_accuracy']:.1%}", split),
        Tile("NLL", f"{figures[f'{split}/nll']:.3f}", f"{figures[f'{split}/nll_calibrated']:.3f} calibrated"),
        Tile("ECE", f"{figures[f'{split}/ece']:.3f}", f"{figures[f'{split}/ece_calibrated']:.3f} calibrated"),
    ]


def _as_json(content: ReportContent, result: ClassifierResult | None) -> dict[str, Any]:
    return {
        "title": content.title,
        "metrics": dict(content.metrics),
        "bundle": content.bundle.model_dump(mode="json"),
        "steps": content.fitted.steps,
        "epochs": content.fitted.epochs,
        "chosen_epoch": content.fitted.chosen_epoch,
        "stopped_early": content.fitted.stopped_early,
        "method": dict(content.method_details),
        "result": None if result is None else _result_json(result),
        "history": history_json(content.fitted.history),
    }


def _result_json(result: ClassifierResult) -> dict[str, Any]:
    worst = worst_positions(result, WORST_IN_JSON)
    return {
        "split": result.split,
        "classes": list(result.classes),
        "confusion": _confusion_json(result),
        "per_class": {name: values.tolist() for name, values in result.per_class.items()},
        "reliability": {name: _bins_json(bins) for name, bins in (("raw", result.raw), ("after", result.calibrated))},
        "worst": [
            {
                "name": result.name(position),
                "true": result.classes[int(result.labels[position])],
                "predicted": result.classes[int(result.probabilities[position].argmax())],
                "true_probability": float(result.probabilities[position, int(result.labels[position])]),
            }
            for position in worst
        ],
    }


def _confusion_json(result: ClassifierResult) -> list[list[int]] | None:
    """Counts by true class and predicted class; None for so many classes that most of them would be zeros."""
    if len(result.classes) > CONFUSION_CLASSES_IN_JSON:
        return None
    matrix: list[list[int]] = confusion_matrix(result.pairs(), len(result.classes)).tolist()
    return matrix


def _bins_json(bins: Bins) -> dict[str, list[float]]:
    return {
        "confidence": bins.confidence.tolist(),
        "accuracy": bins.accuracy.tolist(),
        "pictures": bins.pictures.tolist(),
    }
