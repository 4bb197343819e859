"""What AFD adds to the training report: links, student next to teacher, and what was thrown away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from libs.models.afd.links import Links
from libs.models.afd.method import AFD
from libs.training.bundles import read_classifier_bundle
from libs.training.calibration import fit_temperature
from libs.training.classification import FittedClassifier
from libs.training.classification_data import ClassificationData
from libs.training.evaluation import Measured
from libs.training.export import plain_copy
from libs.training.finish import ReportPart
from libs.training.history import History
from libs.training.metrics import classification_figures, per_class_figures
from libs.training.report.charts import heat_chart, line_chart
from libs.training.report.page import Chart, Section, Table
from libs.training.run import Run
from libs.training.taps import Tap

MOST_CLASSES = 40


@dataclass(frozen=True, slots=True)
class Judged:
    """Student and teacher on one split.

    Attributes:
        split: its name.
        student: figures of the student, `…_calibrated` with its temperature.
        teacher: of the teacher, likewise; None where its classes are others.
        agreement: share of pictures on which both say the same; None likewise.
        recalls: share of each class that is found, of student and teacher, each [K]; None likewise.
    """

    split: str
    student: Mapping[str, float]
    teacher: Mapping[str, float] | None
    agreement: float | None
    recalls: tuple[Tensor, Tensor] | None


def afd_report(
    method: AFD, data: ClassificationData, links: Links | None, fitted: FittedClassifier, run: Run
) -> ReportPart:
    """Sections and details of a finished training."""
    judged = judge(fitted)
    costs = model_costs(method, run.folder / "bundle", data)
    sections = [_comparison_section(judged, costs)] if judged is not None else []
    if judged is not None and judged.recalls is not None:
        sections.append(_class_section(judged, data.classes))
    if links is not None:
        sections.append(_links_section(links, method, fitted.history))
    sections.append(_training_section(method))
    details: dict[str, Any] = {
        "teacher": {"digest": method.teacher.digest, "architecture": method.teacher.bundle.architecture},
        "kd_weight": method.kd_weight,
        "beta": method.beta,
        "thrown_away_parameters": _thrown_away(method),
        "costs": costs,
    }
    if judged is not None:
        details["comparison"] = _comparison_json(judged)
    return ReportPart(sections, details, {"links": links.as_json()} if links is not None else {})


def judge(fitted: FittedClassifier) -> Judged | None:
    """Student and teacher on the test split, else the validation split; temperatures are fitted on validation."""
    name, measured = ("test", fitted.test) if fitted.test is not None else ("val", fitted.val)
    if measured is None:
        return None
    student = _figures(measured.logits, measured.labels, _temperature(fitted.val, None))
    taught = measured.others.get("teacher")
    if taught is None:
        return Judged(name, student, None, None, None)
    teacher = _figures(taught, measured.labels, _temperature(fitted.val, "teacher"))
    recalls = [per_class_figures(logits, measured.labels)["recall"] for logits in (measured.logits, taught)]
    agreement = float((measured.logits.argmax(1) == taught.argmax(1)).double().mean())
    return Judged(name, student, teacher, agreement, (recalls[0], recalls[1]))


def _temperature(val: Measured | None, other: str | None) -> float:
    if val is None:
        return 1.0
    return fit_temperature(val.logits if other is None else val.others[other], val.labels)


def _figures(logits: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    raw, after = (classification_figures(scores, labels) for scores in (logits, logits / temperature))
    return {**raw, **{f"{name}_calibrated": after[name] for name in ("nll", "ece")}, "temperature": temperature}


def model_costs(method: AFD, bundle: Path, data: ClassificationData) -> dict[str, dict[str, float]]:
    """Parameters, multiply-adds of a picture and ONNX latency as measured at export, of student and teacher."""
    student, teacher = read_classifier_bundle(bundle), method.teacher.bundle
    networks = {
        "student": (method.classifier, data.example),
        "teacher": (method.teacher.network, method.teacher.example),
    }
    costs: dict[str, dict[str, float]] = {}
    for (who, (network, example)), described in zip(networks.items(), (student, teacher), strict=True):
        costs[who] = {"parameters": described.parameters or sum(p.numel() for p in network.parameters())}
        costs[who]["macs"] = multiply_adds(network, example)
        costs[who] |= {f"onnx_ms_{one.batch_size}": one.p50_ms for one in described.latency}
    return costs


@torch.no_grad()
def multiply_adds(network: nn.Module, example: Tensor) -> int:
    """Multiplications and additions of one picture [1, C, H, W], a pair counted once."""
    with FlopCounterMode(display=False) as counter:
        plain_copy(network)(example.cpu())
    return int(counter.get_total_flops()) // 2


def _comparison_section(judged: Judged, costs: Mapping[str, Mapping[str, float]]) -> Section:
    rows = [_model_row("student", judged.student, costs["student"])]
    if judged.teacher is not None:
        rows.append(_model_row("teacher", judged.teacher, costs["teacher"]))
    header = [
        "",
        "accuracy",
        "NLL",
        "… calibrated",
        "ECE",
        "… calibrated",
        "parameters",
        "multiply-adds",
        "ONNX, 1 picture",
    ]
    text = f"Measured on the {judged.split} split; a temperature of its own, fitted on validation, calibrates each."
    if judged.agreement is not None:
        text += f" Student and teacher say the same on {judged.agreement:.1%} of the pictures."
    else:
        text += " The teacher tells other classes apart, so only the student is measured."
    return Section("Student and teacher", text, [Table(header, rows, frozenset(range(1, len(header))))])


def _model_row(name: str, figures: Mapping[str, float], costs: Mapping[str, float]) -> list[str]:
    latency = costs.get("onnx_ms_1")
    return [
        name,
        f"{figures['accuracy']:.1%}",
        *(f"{figures[key]:.3f}" for key in ("nll", "nll_calibrated", "ece", "ece_calibrated")),
        f"{int(costs['parameters']):,}",
        f"{costs['macs'] / 1e6:,.1f} M",
        "" if latency is None else f"{latency:.2f} ms",
    ]


def _class_section(judged: Judged, classes: Sequence[str]) -> Section:
    assert judged.recalls is not None
    student, teacher = judged.recalls
    order = (student - teacher).argsort(stable=True).tolist()
    shown = order if len(order) <= MOST_CLASSES else [*order[: MOST_CLASSES // 2], *order[-MOST_CLASSES // 2 :]]
    rows = [
        [classes[k], f"{student[k]:.1%}", f"{teacher[k]:.1%}", f"{100 * (student[k] - teacher[k]):+.1f}"] for k in shown
    ]
    text = f"Share of each class that is found ({judged.split} split), where the student lost most first."
    return Section(
        "Classes against the teacher",
        text,
        [Table(["class", "student", "teacher", "points"], rows, frozenset({1, 2, 3}))],
    )


def _links_section(links: Links, method: AFD, history: History) -> Section:
    heat = heat_chart(
        links.attention.double().numpy(),
        links.teachers,
        links.students,
        _group_starts(method.teacher_taps),
        _group_starts(method.student_taps),
        "attention",
    )
    curves = {
        size: ([float(point.step) for point in points], [point.value for point in points])
        for size, points in history.matching("links/entropy_").items()
    }
    chart = line_chart(curves, "step", "entropy, share of the most")
    return Section(
        "Links",
        "Which student features each teacher feature attends to: alpha, averaged over "
        f"{links.pictures:,} pictures of the {links.split} split. Rows are teacher features and sum to 1, columns are "
        "student features, both in network order; lines part the resolutions. "
        f"{links.same_size:.0%} of the attention stays within one resolution; spread evenly, it would be "
        f"{links.even_share:.0%}.",
        [
            Chart(heat, "Attention of teacher features (rows) to student features (columns)"),
            Chart(
                chart, "Entropy of the attention by size of the teacher feature: 1 is spread evenly, 0 is one feature"
            ),
        ],
    )


def _group_starts(taps: Sequence[Tap]) -> list[int]:
    """Positions at which the size of the map changes."""
    return [place for place, (before, after) in enumerate(pairwise(taps), 1) if before.size != after.size]


def _training_section(method: AFD) -> Section:
    rows = [
        ["weight of the soft labels", f"{method.kd_weight:.4g}"],
        ["beta, the weight of the feature term", f"{method.beta:.4g}"],
        ["features of teacher and student that are linked", f"{len(method.teacher_taps)} x {len(method.student_taps)}"],
        ["parameters of the attention network, thrown away", f"{_thrown_away(method):,}"],
        ["SHA-256 of the teacher's weights", method.teacher.digest],
    ]
    return Section("What taught it", "", [Table(["", "here"], rows, frozenset({1}))])


def _thrown_away(method: AFD) -> int:
    return sum(p.numel() for p in method.afd.parameters()) if method.afd is not None else 0


def _comparison_json(judged: Judged) -> dict[str, Any]:
    found: dict[str, Any] = {"split": judged.split, "student": dict(judged.student), "agreement": judged.agreement}
    found["teacher"] = None if judged.teacher is None else dict(judged.teacher)
    if judged.recalls is not None:
        found["recall"] = dict(zip(("student", "teacher"), (r.tolist() for r in judged.recalls), strict=True))
    return found
