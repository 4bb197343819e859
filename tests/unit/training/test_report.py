import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from libs.training.history import History
from libs.training.report.charts import line_chart
from libs.training.report.classification import Bins, ClassifierResult, classifier_sections, worst_positions
from libs.training.report.files import write_json, write_metrics_csv, write_tensorboard
from libs.training.report.page import Section, Table, Tile, render_page
from libs.training.report.pictures import heat_uri, picture_uri


def decoded(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


def result(classes: int, **changes: Any) -> ClassifierResult:
    rng = np.random.default_rng(0)
    labels = np.arange(4 * classes) % classes
    probabilities = rng.dirichlet(np.ones(classes), len(labels))
    bins = Bins(np.linspace(0, 1, 15), np.linspace(0, 1, 15), np.arange(15))
    values = {
        "split": "test",
        "classes": [f"<class {k}>" for k in range(classes)],
        "labels": labels,
        "probabilities": probabilities,
        "per_class": {name: np.ones(classes) for name in ("precision", "recall", "f1", "pictures")},
        "raw": bins,
        "calibrated": bins,
        "picture": lambda position: np.full((8, 8, 1), position, np.uint8),
        "name": lambda position: f"x[{position}]",
    }
    return ClassifierResult(**{**values, **changes})


def test_a_picture_comes_back_pixel_by_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(decoded(picture_uri(picture)), picture)
    assert decoded(picture_uri(picture[:, :, :1])).shape == (9, 7)


def test_a_large_picture_is_reduced() -> None:
    assert decoded(picture_uri(np.zeros((1000, 500, 3), np.uint8))).shape == (160, 80, 3)


def test_heat_goes_from_dark_to_bright_and_survives_a_flat_map() -> None:
    heat = decoded(heat_uri(np.array([[0.0, 0.5], [0.75, 1.0]], np.float32))).sum(2)
    assert heat[0, 0] < heat[0, 1] < heat[1, 1]
    assert decoded(heat_uri(np.zeros((3, 3), np.float32))).shape == (3, 3, 3)


def test_charts_follow_the_page_s_colours_and_are_repeatable() -> None:
    svg = line_chart({"a": ([1, 2], [1.0, 2.0]), "b<": ([1, 2], [2.0, 1.0])}, "step", "loss", logarithmic=True)
    assert "var(--series-1)" in svg
    assert "var(--soft)" in svg
    assert "#fe00" not in svg
    assert "b<" not in svg
    assert svg == line_chart({"a": ([1, 2], [1.0, 2.0]), "b<": ([1, 2], [2.0, 1.0])}, "step", "loss", logarithmic=True)


@pytest.mark.parametrize("values", [[0.0, 1.0], [-1.0, 2.0]])
def test_a_log_axis_is_not_forced_on_values_it_cannot_show(values: list[float]) -> None:
    assert line_chart({"a": ([1, 2], values)}, "step", "loss", logarithmic=True)


def test_worst_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    made = result(2, labels=np.array([0, 0, 1]), probabilities=probabilities)
    assert worst_positions(made, 2) == [1, 2]


@pytest.mark.parametrize("classes", [2, 25, 40])
def test_a_page_stands_alone_and_escapes_what_it_shows(classes: int) -> None:
    sections = [*classifier_sections(result(classes), 1.3), Section("S", "", [Table(["<h>"], [["<td>"]])])]
    page = render_page("<title>", "subtitle", [Tile("Accuracy", "97%", "test")], sections)
    assert "&lt;class 0&gt;" in page
    assert "<class 0>" not in page
    assert "&lt;title&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("data:image/png") == min(24, 4 * classes)
    assert ('class="matrix"' in page) == (classes <= 25)


def test_csv_has_every_digit(tmp_path: Path) -> None:
    history = History()
    history.record({"a": 0.1 + 0.2}, 5)
    write_metrics_csv(tmp_path / "metrics.csv", history)
    rows = list(csv.reader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert rows == [["name", "step", "value"], ["a", "5", repr(0.1 + 0.2)]]


def test_json_is_strict(tmp_path: Path) -> None:
    """A validation figure that was NaN once costs no report."""
    write_json(tmp_path / "x.json", {"a": [1, None, float("nan")]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, None, "NaN"]}


def test_tensorboard_events_can_be_read_back(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    history = History()
    history.record({"train/loss": 0.5}, 7)
    write_tensorboard(tmp_path, history)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    content, found = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        assert int.from_bytes(content[8:12], "little") == masked_crc32c(content[:8])
        event = Event.FromString(content[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        content = content[16 + length :]
    assert ("train/loss", 7, 0.5) in found
