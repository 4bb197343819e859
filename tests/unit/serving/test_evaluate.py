"""The task `evaluate` on a model whose answers are known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from libs.jobs.tasks import TASKS, EvaluateConfig
from libs.serving.errors import MismatchError
from libs.serving.evaluate import map_labels
from libs.training.run import Inputs, Stopped
from tests.support.bundles import make_bundle, make_overflowing_bundle

CONFIG = EvaluateConfig(split="test", batch_size=4, worst=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "model", labels=("dark", "bright"))
    return tmp_path / "model"


def test_figures_and_the_worst_pictures(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 10, 100, 200, 250, 20], [0, 0, 0, 1, 1, 1], ["dark", "bright"])

    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"test": data}, {"model": model}), remembering_run)

    assert outcome.metrics["test/accuracy"] == pytest.approx(5 / 6)
    assert outcome.metrics["test/balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert remembering_run.metrics == outcome.metrics
    assert outcome.details == {"pictures": 6, "unreadable": 0, "split": "test"}
    report = json.loads((outcome.report / "report.json").read_text())
    assert report["confusion"] == [[3, 0], [1, 2]]
    assert [one["position"] for one in report["worst"]] == [5, 2, 3]
    assert report["worst"][0]["truth"] == "bright"
    page = (outcome.report / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme" in page
    assert "test/accuracy," in (outcome.report / "metrics.csv").read_text()


def test_nothing_is_measured_beside_a_classifier(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 250], [0, 1], ["dark", "bright"])
    with pytest.raises(MismatchError, match="Only a recommender is measured beside others"):
        TASKS["evaluate"].load()(CONFIG, Inputs({"data": data}, {"model": model, "gru4rec": model}), remembering_run)


def test_answers_that_are_not_finite_are_left_out_and_told(
    tmp_path: Path, shades: Callable[..., Path], remembering_run
) -> None:
    make_overflowing_bundle(tmp_path / "model")
    data = shades([0, 255, 10], [0, 1, 1], ["dark", "bright"])
    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"d": data}, {"m": tmp_path / "model"}), remembering_run)
    assert outcome.details == {"pictures": 2, "unreadable": 1, "split": "test"}
    assert outcome.metrics["test/accuracy"] == 0.5
    report = json.loads((outcome.report / "report.json").read_text())
    assert report["unreadable"] == [{"name": "x[1]", "error": "the model's output for this picture is not finite"}]


def test_labels_are_matched_by_name(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 10, 250, 255], [1, 1, 0, 0], ["bright", "dark"])
    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"data": data}, {"model": model}), remembering_run)
    assert outcome.metrics["test/accuracy"] == 1.0


def test_colour_pictures_fit_a_grey_model(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 255], [0, 1], ["dark", "bright"], channels=3)
    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"data": data}, {"model": model}), remembering_run)
    assert outcome.metrics["test/accuracy"] == 1.0


def test_a_page_escapes_labels(tmp_path: Path, shades: Callable[..., Path], remembering_run) -> None:
    make_bundle(tmp_path / "model", labels=("<script>alert(1)</script>", "b"))
    data = shades([0, 255], [0, 1], ["<script>alert(1)</script>", "b"])
    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"d": data}, {"m": tmp_path / "model"}), remembering_run)
    assert "<script" not in (outcome.report / "report.html").read_text()


def test_label_maps() -> None:
    assert map_labels(["b", "a"], ["a", "b", "c"]).tolist() == [1, 0]
    with pytest.raises(MismatchError, match=r"1 of the data set's 2 classes: 'dog'\. It knows: 'cat'"):
        map_labels(["cat", "dog"], ["cat"])
    with pytest.raises(MismatchError, match="no labels"):
        map_labels([], ["cat"])
    assert MismatchError.user_error


def test_unlabelled_and_missing_inputs_are_refused(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 255], None, [])
    evaluate = TASKS["evaluate"].load()
    with pytest.raises(MismatchError, match="Use `predict`"):
        evaluate(CONFIG, Inputs({"data": data}, {"model": model}), remembering_run)
    with pytest.raises(MismatchError, match="exactly one model; given: none"):
        evaluate(CONFIG, Inputs({"data": data}), remembering_run)


def test_it_stops_when_asked(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 255] * 10, [0, 1] * 10, ["dark", "bright"])
    remembering_run.stop_after = 2
    with pytest.raises(Stopped):
        TASKS["evaluate"].load()(CONFIG, Inputs({"data": data}, {"model": model}), remembering_run)
    assert len(remembering_run.fractions) == 2


def test_sharp_pictures_of_other_sizes_are_resized(model: Path, tmp_path: Path, remembering_run) -> None:
    from libs.data.write import write_arrays_dataset

    pictures = np.zeros((4, 20, 30, 1), np.uint8)
    pictures[2:] = 255
    write_arrays_dataset(tmp_path / "d", pictures, np.array([0, 0, 1, 1]), ["dark", "bright"], ["test"] * 4)
    outcome = TASKS["evaluate"].load()(CONFIG, Inputs({"d": tmp_path / "d"}, {"m": model}), remembering_run)
    assert outcome.metrics["test/accuracy"] == 1.0
