"""The report of an evaluation: one page without outside references, the same facts as JSON, and the figures as CSV."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image
from pydantic_core import to_json

from libs.data.errors import PictureError
from libs.data.images import ImageSplit
from libs.serving.bundle import ClassifierBundle
from libs.serving.scores import Scores
from libs.training.confusion import confusion_matrix

THUMBNAIL_PX = 128
_MAX_CONFUSION_CLASSES = 40


@dataclass(frozen=True, slots=True)
class WorstPicture:
    """A picture the model got wrong, or nearly."""

    position: int
    name: str
    truth: str
    predicted: str
    probability_of_truth: float
    probability_of_predicted: float


def write_report(
    folder: Path,
    bundle: ClassifierBundle,
    split: ImageSplit,
    scores: Scores,
    figures: Mapping[str, float],
    worst: Sequence[WorstPicture],
    errors: Mapping[int, str],
) -> None:
    """Write `report.html`, `report.json` and `metrics.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = _facts(bundle, split, scores, figures, worst, errors)
    (folder / "report.json").write_bytes(to_json(facts, indent=2, inf_nan_mode="strings"))
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("name", "value"))
        writer.writerows(figures.items())
    pictures = [{**asdict(one), "image": _data_uri(split, one.position)} for one in worst]
    page = _template().render(**{**facts, "worst": pictures})
    (folder / "report.html").write_text(page, encoding="utf-8")


def _facts(
    bundle: ClassifierBundle,
    split: ImageSplit,
    scores: Scores,
    figures: Mapping[str, float],
    worst: Sequence[WorstPicture],
    errors: Mapping[int, str],
) -> dict[str, Any]:
    return {
        "split": split.name,
        "pictures": scores.pictures,
        "architecture": bundle.architecture,
        "temperature": bundle.temperature,
        "dataset_digest": split.manifest.digest,
        "figures": dict(figures),
        "labels": scores.labels,
        "classes": [asdict(score) for score in scores.by_class()],
        "confusion": _confusion(scores) if len(scores.labels) <= _MAX_CONFUSION_CLASSES else None,
        "confused": _most_confused(scores),
        "reliability": scores.reliability(),
        "worst": [asdict(one) for one in worst],
        "unreadable": [{"name": split.name_of(position), "error": error} for position, error in errors.items()],
    }


def _confusion(scores: Scores) -> list[list[int]]:
    matrix: list[list[int]] = confusion_matrix(scores.pairs(), len(scores.labels)).tolist()
    return matrix


def _most_confused(scores: Scores, count: int = 20) -> list[dict[str, Any]]:
    """Pairs of classes taken for each other, the most frequent first."""
    mistakes = sorted((pair for pair in scores.pairs() if pair[0] != pair[1]), key=lambda pair: -pair[2])
    return [
        {"truth": scores.labels[true], "predicted": scores.labels[predicted], "pictures": pictures}
        for true, predicted, pictures in mistakes[:count]
    ]


def _data_uri(split: ImageSplit, position: int) -> str:
    """The picture as a small PNG inside the page; empty when it cannot be read any more."""
    try:
        pixels = split.picture(position)
    except PictureError:
        return ""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@cache
def _template() -> jinja2.Template:
    folder = Path(__file__).with_name("templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("evaluation.html")
