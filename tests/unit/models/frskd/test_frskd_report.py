"""The report of an FRSKD training, from a real one: what a reader finds on the page, a program in the files."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tensorboardX.proto.event_pb2 import Event

from libs.data.write import write_arrays_dataset
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.train import train
from libs.training.local_run import LocalRun
from libs.training.run import Inputs

CLASSES, PICTURES, TEST_PICTURES = 4, 80, 16
TERMS = ["ce_classifier", "ce_self_teacher", "kd", "feature"]
LEVELS = 3  # resnet8 has three stages


@dataclass
class Report:
    folder: Path
    page: str
    content: dict[str, Any]

    def section(self, title: str) -> str:
        """The HTML of the section whose title begins so."""
        (found,) = re.findall(rf"<section>\s*<h2>{title}.*?</section>", self.page, re.DOTALL)
        return str(found)

    @property
    def fusion_nodes(self) -> dict[str, list[str]]:
        """Names of the series of each fusion node."""
        nodes: dict[str, list[str]] = {}
        for name in self.content["history"]:
            if name.startswith("fusion/"):
                nodes.setdefault(name.rpartition("/")[0], []).append(name)
        return nodes


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of two epochs on 8x8 digits."""
    torch.set_num_threads(1)
    x, y = load_digits(n_class=CLASSES, return_X_y=True)
    folder = tmp_path_factory.mktemp("frskd-report")
    splits = ["test"] * TEST_PICTURES + ["val"] * 16 + ["train"] * (PICTURES - TEST_PICTURES - 16)
    pictures = np.round(x.reshape(-1, 8, 8)[:PICTURES] * (255 / 16)).astype(np.uint8)
    write_arrays_dataset(
        folder / "data", pictures, y[:PICTURES].astype(np.int64), [f"digit {k}" for k in "0123"], splits
    )
    config = FrskdConfig(model="resnet8", epochs=2, batch_size=16, lr=0.05)
    with LocalRun(folder / "run", seed=0, quiet=True) as run:
        outcome = train(config, Inputs({"train": folder / "data"}), run)
    torch.set_deterministic_debug_mode("default")
    assert outcome.report is not None
    page = (outcome.report / "report.html").read_text()
    return Report(outcome.report, page, json.loads((outcome.report / "report.json").read_text()))


def test_every_loss_term_has_its_curves(report: Report) -> None:
    course = report.section("Course of the training")
    charts = dict(re.findall(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", course, re.S))
    for prefix, caption in (
        ("train/weighted", "Loss terms on training batches, times their weights: what is minimised"),
        ("train", "Raw loss terms on training batches"),
        ("val", "Raw loss terms on the validation split"),
    ):
        for term in TERMS:
            assert f">{term}</text>" in charts[caption], (caption, term)
            series = report.content["history"][f"{prefix}/{term}"]
            assert len(series["step"]) == len(series["value"]) >= 2
            assert np.isfinite(series["value"]).all()
    weighted = report.content["history"]["train/weighted/kd"]["value"]
    assert weighted == pytest.approx(2.0 * np.array(report.content["history"]["train/kd"]["value"]))


def test_fusion_weights_of_every_node_are_shown_and_sum_to_one(report: Report) -> None:
    section = report.section("Fusion weights")
    assert len(report.fusion_nodes) == section.count("<svg") > 0
    for node, names in report.fusion_nodes.items():
        assert f"<figcaption>{node.removeprefix('fusion/')}</figcaption>" in section.replace("fusion/", "")
        values = np.array([report.content["history"][name]["value"] for name in names])
        np.testing.assert_allclose(values.sum(0), 1.0, atol=1e-4)
        assert values.shape[0] in (2, 3)


def test_attention_maps_of_both_sides_are_shown_beside_the_picture(report: Report) -> None:
    section = report.section("Attention maps")
    sample = report.content["method"]["attention"]
    assert section.count("data:image/png") == len(sample) * (1 + 2 * LEVELS)
    for entry in sample:
        assert entry["class"] in section
        assert len(entry["levels"]) == LEVELS
        for level, maps in enumerate(entry["levels"]):
            assert f'alt="F{level}"' in section
            assert f'alt="T{level}"' in section
            for side in ("F", "T"):
                values = np.array(maps[side])
                assert values.shape == (8 // 2**level, 8 // 2**level)
                assert np.linalg.norm(values) == pytest.approx(1.0, abs=1e-2)


def test_confusion_counts_every_test_picture(report: Report) -> None:
    confusion = np.array(report.content["result"]["confusion"])
    assert confusion.shape == (CLASSES, CLASSES)
    assert confusion.sum() == TEST_PICTURES
    assert np.trace(confusion) / TEST_PICTURES == pytest.approx(report.content["metrics"]["test/accuracy"])
    section = report.section("Confusion on the test split")
    assert 'class="matrix"' in section
    assert "digit 3" in section


def test_cost_of_the_self_teacher_and_its_thrown_away_parameters_are_told(report: Report) -> None:
    method = report.content["method"]
    assert method["cost_factor"] == pytest.approx(method["step_ms"] / method["plain_step_ms"])
    assert f"{method['thrown_away_parameters']:,.0f}" in report.section("What the self-teacher cost")


def test_the_page_shows_16_augmented_training_pictures(report: Report) -> None:
    assert report.section("What the training sees").count("data:image/png") == 16


def test_csv_and_tensorboard_hold_every_figure(report: Report) -> None:
    history = report.content["history"]
    expected = {
        (n, s, v) for n, points in history.items() for s, v in zip(points["step"], points["value"], strict=True)
    }
    rows = list(csv.DictReader((report.folder / "metrics.csv").read_text().splitlines()))
    assert {(row["name"], int(row["step"]), float(row["value"])) for row in rows} == expected
    assert len(rows) == len(expected)
    (events,) = report.folder.glob("tensorboard/events.out.tfevents.*")
    assert read_events(events) == {(name, step): np.float32(value) for name, step, value in expected}
    assert {f"train/{term}" for term in TERMS} | {
        name for names in report.fusion_nodes.values() for name in names
    } <= set(history)


def read_events(file: Path) -> dict[tuple[str, int], np.float32]:
    """Scalars of an event file by name and step."""
    content, found = file.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found |= {(value.tag, event.step): np.float32(value.simple_value) for value in event.summary.value}
        content = content[16 + length :]
    return found
