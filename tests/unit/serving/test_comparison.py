"""The task `compare` on models whose answers are known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from libs.jobs.tasks import TASKS
from libs.models.compare_config import CompareConfig
from libs.serving.bundle import write_bundle
from libs.serving.comparison.macs import multiply_adds
from libs.serving.comparison.results import FIGURES
from libs.serving.errors import MismatchError
from libs.training.comparison.statistics import T_975, difference, spread, verdict
from libs.training.run import Inputs
from tests.support.bundles import make_bundle

CONFIG = CompareConfig(of="frskd", baselines=["supervised"], seeds=[3, 5])
SHADES = [0, 10, 100, 140, 200, 250]
TRUTH = [0, 0, 0, 1, 1, 1]
OFF = [0.1, -0.1]
"""A bias with which the model calls everything bright that is not nearly black."""


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Two good runs of the method, a good and a bad one of the baseline, a teacher that errs like the bad one."""
    biases = {"frskd/3": None, "frskd/5": None, "supervised/3": None, "supervised/5": OFF, "teacher": OFF}
    for name, bias in biases.items():
        make_bundle(tmp_path / name, bias=bias, labels=("dark", "bright"))
    return {name: tmp_path / name for name in biases}


def test_means_paired_differences_and_agreement(
    models: dict[str, Path], shades: Callable[..., Path], remembering_run
) -> None:
    data = shades(SHADES, TRUTH, ["dark", "bright"])
    outcome = TASKS["compare"].load()(CONFIG, Inputs({"train": data}, models), remembering_run)

    wrong = 2  # 10 and 100, of six
    assert outcome.metrics["frskd/accuracy"] == 1.0
    assert outcome.metrics["supervised/accuracy"] == pytest.approx(1 - wrong / 12)
    assert outcome.metrics["frskd-supervised/accuracy"] == pytest.approx(wrong / 12)
    assert outcome.metrics["frskd/agreement"] == pytest.approx(1 - wrong / 6)
    assert outcome.metrics["supervised/agreement"] == pytest.approx((1 - wrong / 6 + 1) / 2)
    assert outcome.details["larger_than_spread"] == {"supervised": False}
    assert outcome.details["figures"]["frskd"]["accuracy"] == [1.0, 0.0]
    assert "is not larger than the spread of the seeds" in outcome.details["verdicts"][0]
    report = json.loads((outcome.report / "report.json").read_text())
    assert report["arms"]["supervised"]["accuracy"]["values"] == pytest.approx([1.0, 4 / 6])
    dark = next(one for one in report["classes"] if one["label"] == "dark")
    assert dark["change"]["supervised"] == pytest.approx(wrong / 6)
    assert report["costs"]["frskd"]["macs"] == 2
    assert set(report["costs"]) == {"frskd", "supervised", "teacher"}
    page = (outcome.report / "report.html").read_text()
    assert "Every seed" in page
    assert "Each run&#39;s weights are those of its last step." in page  # there is no validation split
    assert "Agreement with the teacher" in page
    with np.load(outcome.files["predictions.npz"]) as stored:
        assert stored["truth"].tolist() == TRUTH
        assert dict(zip(stored["runs"], stored["predicted"].tolist(), strict=True))["supervised/5"] == [
            0,
            1,
            1,
            1,
            1,
            1,
        ]


def test_a_teacher_of_other_classes_has_no_agreement(
    models: dict[str, Path], shades: Callable[..., Path], tmp_path: Path, remembering_run
) -> None:
    make_bundle(tmp_path / "other", labels=("cat", "dog"))
    inputs = Inputs({"train": shades(SHADES, TRUTH, ["dark", "bright"])}, {**models, "teacher": tmp_path / "other"})
    outcome = TASKS["compare"].load()(CONFIG, inputs, remembering_run)
    assert not [name for name in outcome.metrics if name.endswith("agreement") or name.startswith("teacher")]


def test_a_teacher_that_cannot_read_the_pictures_has_no_figures(
    models: dict[str, Path], shades: Callable[..., Path], remembering_run
) -> None:
    """Its recipe wants pictures of another size and resizes none; in training the student's pictures are resized."""
    teacher = make_bundle(models["teacher"], size=16)
    strict = teacher.recipe.model_copy(update={"resize": "none"})
    write_bundle(models["teacher"], teacher.model_copy(update={"recipe": strict}))
    inputs = Inputs({"train": shades(SHADES, TRUTH, ["dark", "bright"])}, models)
    outcome = TASKS["compare"].load()(CONFIG, inputs, remembering_run)
    assert outcome.metrics["frskd/accuracy"] == 1.0
    assert not [name for name in outcome.metrics if name.endswith("agreement") or name.startswith("teacher")]
    assert (
        "teacher has no answer for 6 of 6 pictures: the picture is 8 x 8 px, must be 16 x 16" in remembering_run.logged
    )
    with np.load(outcome.files["predictions.npz"]) as stored:
        assert set(stored["predicted"][list(stored["runs"]).index("teacher")].tolist()) == {-1}


def test_a_missing_run_is_named(models: dict[str, Path], shades: Callable[..., Path], remembering_run) -> None:
    inputs = Inputs({"train": shades(SHADES, TRUTH, ["dark", "bright"])}, {"frskd/3": models["frskd/3"]})
    with pytest.raises(MismatchError, match="frskd/5"):
        TASKS["compare"].load()(CONFIG, inputs, remembering_run)


def test_paired_differences_by_hand() -> None:
    method, baseline = spread([0.90, 0.92, 0.91]), spread([0.80, 0.83, 0.82])
    found = difference(method, baseline)
    assert found.values == pytest.approx([0.10, 0.09, 0.09])
    low, high = stats.t.interval(0.95, 2, found.mean, stats.sem(found.values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3)
    assert (found.larger_than_spread, found.excludes_zero) == (True, True)
    said = verdict(FIGURES[0], "afd", "supervised", found, method.sd, baseline.sd)
    assert "mean of 3 seeds: +9.33 points" in said
    assert "is larger than the spread" in said
    assert pytest.approx(stats.t.ppf(0.975, np.arange(1, 10)), abs=6e-4) == T_975


def test_multiply_adds_of_a_graph(models: dict[str, Path]) -> None:
    assert multiply_adds(models["frskd/3"] / "model.onnx") == 2


@pytest.mark.parametrize(("height", "expected"), [(4, 4 * 4 * 2 * 3), ("H", None)])
def test_multiply_adds_are_not_told_where_more_than_the_batch_is_free(
    tmp_path: Path, height: int | str, expected: int | None
) -> None:
    """One convolution of 1x1, from 3 channels to 2."""
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "weight")
    shapes = {"input": ["N", 3, height, 4], "maps": ["N", 2, height, 4]}
    reads, makes = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    convolution = helper.make_node("Conv", ["input", "weight"], ["maps"])
    graph = helper.make_graph([convolution], "one", [reads], [makes], [weight])
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    assert multiply_adds(tmp_path / "model.onnx") == expected
