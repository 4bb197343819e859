"""What FRSKD adds to the training report: fusion weights, attention maps, and what the self-teacher cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from libs.data.images import ImageSplit
from libs.data.preprocess import apply, fit
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.method import FRSKD, AttentionMaps
from libs.training.classification_data import ClassificationData
from libs.training.estimate import first_batch, measure_step
from libs.training.finish import ReportPart
from libs.training.history import History
from libs.training.objective import PlainStep
from libs.training.report.charts import line_chart
from libs.training.report.page import Block, Chart, Gallery, Section, Table, Thumbnail
from libs.training.report.pictures import heat_uri, picture_uri
from libs.training.run import Run

SAMPLE_PICTURES = 6

Line = tuple[list[float], list[float]]
"""Steps and values."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures of a split, and their attention maps [N, H, W] by level."""

    split: ImageSplit
    positions: Sequence[int]
    maps: AttentionMaps

    @property
    def levels(self) -> list[tuple[Tensor, Tensor]]:
        """(classifier's, self-teacher's) map of each level, finest first."""
        return list(zip(self.maps.classifier, self.maps.self_teacher, strict=True))


def frskd_report(
    method: FRSKD, data: ClassificationData, config: FrskdConfig, history: History, run: Run
) -> ReportPart:
    """Sections and details of a finished training."""
    cost = training_cost(method, data, config, run)
    sample = _sample(method, data, run.device)
    sections = [
        Section(
            "Fusion weights",
            "How each node of the self-teacher mixes its inputs, normalised to sum 1. "
            "A weight at 0 was clipped and stays there.",
            _fusion_charts(history),
        ),
        Section(
            "Attention maps",
            "Mean channel energy phi of every level, finest first: the classifier's feature F, then the self-teacher's "
            "refined map T that it is drawn towards. Bright is strong; each map has its own scale.",
            [_attention_gallery(data, sample)],
        ),
        Section(
            "What the self-teacher cost",
            "It exists in training only; the served model has none of it.",
            [_cost_table(cost)],
        ),
    ]
    return ReportPart(sections, cost, {"attention": _attention_json(data, sample)})


def training_cost(method: FRSKD, data: ClassificationData, config: FrskdConfig, run: Run) -> dict[str, float]:
    """Step times of FRSKD and of the plain classifier in one go, and parameters kept and thrown away."""
    batch = first_batch(data, config, run.device, run.seed)
    plain = PlainStep(method.classifier, method.cross_entropy)
    own_s = measure_step(method, batch, config, run.device).seconds
    plain_s = measure_step(plain, batch, config, run.device).seconds
    kept = sum(parameter.numel() for parameter in method.classifier.parameters())
    return {
        "step_ms": own_s * 1000,
        "plain_step_ms": plain_s * 1000,
        "cost_factor": own_s / plain_s,
        "thrown_away_parameters": sum(parameter.numel() for parameter in method.parameters()) - kept,
        "beta": method.beta,
    }


def _cost_table(cost: dict[str, float]) -> Table:
    rows = [
        ["one training step with FRSKD", f"{cost['step_ms']:.1f} ms"],
        ["the same step of the classifier alone", f"{cost['plain_step_ms']:.1f} ms"],
        ["cost factor", f"{cost['cost_factor']:.2f}"],
        ["parameters thrown away after training", f"{int(cost['thrown_away_parameters']):,}"],
        ["beta, the weight of the feature term", f"{cost['beta']:.4g}"],
    ]
    return Table(["", "here"], rows, frozenset({1}))


def _fusion_charts(history: History) -> list[Block]:
    """One chart a node: its inputs' weights over the steps."""
    nodes: dict[str, dict[str, Line]] = {}
    for name, points in history.matching("fusion/").items():
        node, _, position = name.rpartition("/")
        line = [float(point.step) for point in points], [point.value for point in points]
        nodes.setdefault(node, {})[position] = line
    charts = {node: line_chart(_named(node, list(lines.values())), "step", "weight") for node, lines in nodes.items()}
    return [Chart(svg, node) for node, svg in charts.items()]


def _named(node: str, lines: list[Line]) -> dict[str, Line]:
    """The lines of a fusion node by what it mixes."""
    if ".top_down" in node:
        names = ["lateral", "from above"]
    else:
        names = ["lateral", "top-down", "from below"] if len(lines) == 3 else ["lateral", "from below"]
    return dict(zip(names, lines, strict=True))


def _sample(method: FRSKD, data: ClassificationData, device: str) -> Sample:
    """Some pictures of the test split, evenly spread, with their maps."""
    split = data.test or data.val or data.train
    positions = np.linspace(0, len(split) - 1, min(SAMPLE_PICTURES, len(split))).round().astype(int).tolist()
    prepared = np.stack([apply(data.recipe, split.picture(position)) for position in positions])
    return Sample(split, positions, method.eval().attention_maps(torch.from_numpy(prepared).to(device)))


def _attention_gallery(data: ClassificationData, sample: Sample) -> Gallery:
    """One row a picture: the picture, then F and T of each level."""
    thumbnails: list[Thumbnail] = []
    for row, position in enumerate(sample.positions):
        label = data.classes[int(sample.split.labels[position])]
        thumbnails.append(Thumbnail(picture_uri(fit(data.recipe, sample.split.picture(position))), label))
        for level, (feature, refined) in enumerate(sample.levels):
            thumbnails += [_heat(feature[row], f"F{level}"), _heat(refined[row], f"T{level}")]
    return Gallery(thumbnails, columns=1 + 2 * len(sample.levels))


def _attention_json(data: ClassificationData, sample: Sample) -> list[dict[str, Any]]:
    """For each picture its name and class, and the maps F and T of each level as rows of numbers."""
    return [
        {
            "name": sample.split.name_of(position),
            "class": data.classes[int(sample.split.labels[position])],
            "levels": [
                {"F": _numbers(feature[row]), "T": _numbers(refined[row])} for feature, refined in sample.levels
            ],
        }
        for row, position in enumerate(sample.positions)
    ]


def _numbers(attention: Tensor) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in attention.float().cpu().tolist()]


def _heat(attention: Tensor, title: str) -> Thumbnail:
    return Thumbnail(heat_uri(attention.float().cpu().numpy()), title)
