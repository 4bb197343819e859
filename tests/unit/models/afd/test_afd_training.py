"""A whole AFD training: what it leaves, what it says, what it refuses, and what its checkpoints hold."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits

from libs.data.errors import DataError
from libs.data.recipe import Recipe
from libs.data.write import write_arrays_dataset
from libs.models.afd.config import AfdConfig
from libs.models.afd.network import AFDLoss
from libs.models.afd.train import open_data, share_statistics, train
from libs.models.backbones.build import build_classifier
from libs.models.teacher import TeacherError
from libs.training.checkpoint import newest_checkpoint, read_checkpoint
from libs.training.local_run import LocalRun
from libs.training.processes import Processes
from libs.training.run import CheckpointError, Inputs, Outcome, Stopped
from tests.support.teachers import nearest_mean_network, write_teacher

CLASSES = [f"digit {k}" for k in range(4)]
RECIPE = Recipe(channels=1, height=8, width=8, mean=[0.3], std=[0.35])
SETTINGS: dict[str, Any] = {"model": "resnet8", "epochs": 2, "batch_size": 16, "lr": 0.05, "width": 8}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 labelled digits to train, 32 to validate, 32 to test; and `unlabelled`, 60 others."""
    x, y = load_digits(n_class=4, return_X_y=True)
    folder = tmp_path_factory.mktemp("afd")
    pictures = np.round(x.reshape(-1, 8, 8)[:172] * (255 / 16)).astype(np.uint8)
    splits = ["train"] * 48 + ["val"] * 32 + ["test"] * 32
    write_arrays_dataset(folder / "train", pictures[:112], y[:112].astype(np.int64), CLASSES, splits)
    write_arrays_dataset(folder / "unlabelled", pictures[112:], np.full(60, -1), [], ["train"] * 60)
    scaled = torch.from_numpy((pictures[:48] / 255 - 0.3) / 0.35).float()[:, None]
    network = nearest_mean_network("resnet14", scaled, torch.from_numpy(y[:48]))
    write_teacher(folder / "teacher", network, "resnet14", CLASSES, RECIPE)
    write_teacher(folder / "turned", network, "resnet14", CLASSES[::-1], RECIPE)
    return folder


class Talking(LocalRun):
    """Keeps what was logged; stops at a step."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder, seed=3, quiet=True)
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self._asked, self._stop_at = 0, stop_at

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        self.lines.append((message, level, fields))

    def stop_reason(self) -> Any:
        self._asked += 1
        return "shutdown" if self._asked == self._stop_at else None


@pytest.fixture
def run_afd(digits: Path, tmp_path: Path) -> Callable[..., Outcome]:
    def run(run: LocalRun | None = None, teacher: str = "teacher", unlabelled: bool = False, **changes: Any) -> Outcome:
        datasets = {"train": digits / "train", **({"unlabelled": digits / "unlabelled"} if unlabelled else {})}
        config = AfdConfig.model_validate({**SETTINGS, **changes})
        try:
            return train(config, Inputs(datasets, {"teacher": digits / teacher}), run or Talking(tmp_path / "run"))
        finally:
            torch.set_deterministic_debug_mode("default")

    return run


@dataclass
class Done:
    run: Talking
    outcome: Outcome
    page: str
    content: dict[str, Any]


@pytest.fixture(scope="module")
def done(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A training with unlabelled pictures."""
    torch.set_num_threads(1)
    run = Talking(tmp_path_factory.mktemp("done"))
    datasets = {"train": digits / "train", "unlabelled": digits / "unlabelled"}
    outcome = train(AfdConfig.model_validate(SETTINGS), Inputs(datasets, {"teacher": digits / "teacher"}), run)
    torch.set_deterministic_debug_mode("default")
    page = (outcome.report / "report.html").read_text()
    return Done(run, outcome, page, json.loads((outcome.report / "report.json").read_text()))


def test_the_log_tells_the_teacher_the_features_and_the_weights(done):
    messages = {message: fields for message, _, fields in done.run.lines}
    assert messages["teacher measured on the val split"]["accuracy"] > 0.5
    assert messages["terms"]["kd_weight"] == 0.9
    assert messages["terms"]["beta"] == 200 / 16
    assert messages["features of the student"]["taps"] == [
        "stages.0.0: 16x8x8",
        "stages.1.0: 32x4x4",
        "stages.2.0: 64x2x2",
    ]
    assert messages["features of the teacher"]["taps"][-1] == "stages.2.1: 64x2x2"


def test_the_student_is_served_under_the_plain_models_keys(done):
    kept = safetensors.torch.load_file(done.outcome.bundle / "model.safetensors")
    assert kept.keys() == build_classifier("resnet8", 4, 1).state_dict().keys()


def test_links_are_kept_as_numbers(done, digits):
    links = json.loads(done.outcome.files["links.json"].read_text())
    attention = torch.tensor(links["attention"])
    assert attention.shape == (len(links["teacher_features"]), len(links["student_features"])) == (6, 3)
    torch.testing.assert_close(attention.sum(1), torch.ones(6))
    assert (links["pictures"], links["split"]) == (32, "val")
    assert links["student_features"][0] == "stages.0.0 8x8"
    assert 0 <= links["same_size"] <= 1
    assert links["even_share"] == pytest.approx(1 / 3)
    assert all(0 <= value <= 1 for value in links["entropy"])
    assert done.content["method"]["links"] == links


def test_the_report_compares_student_and_teacher(done):
    comparison = done.content["method"]["comparison"]
    logits_agree, student, teacher = (comparison[key] for key in ("agreement", "student", "teacher"))
    assert 0 <= logits_agree <= 1
    assert student["accuracy"] == done.outcome.metrics["test/accuracy"]
    for figures in (student, teacher):
        assert {"nll", "nll_calibrated", "ece", "ece_calibrated", "temperature"} <= figures.keys()
    for who in ("student", "teacher"):
        shares = np.array(comparison["recall"][who])
        assert len(shares) == 4
        assert shares.mean() == pytest.approx(comparison[who]["balanced_accuracy"])
    costs = done.content["method"]["costs"]
    assert costs["student"]["parameters"] < costs["teacher"]["parameters"]
    assert costs["student"]["onnx_ms_1"] > 0
    for title in ("Student and teacher", "Classes against the teacher", "Links", "What taught it"):
        assert f"<h2>{title}" in done.page
    assert re.search(r'aria-label="attention: 6 rows by 3 columns"', done.page)
    assert "stages.2.1 2x2" in done.page


def test_entropy_and_teacher_are_curves(done):
    history = done.content["history"]
    for name in (
        "links/entropy_all",
        "links/entropy_8x8",
        "links/entropy_2x2",
        "links/same_size",
        "val/teacher_accuracy",
    ):
        assert len(history[name]["value"]) == 2, name
    assert len(set(history["val/teacher_accuracy"]["value"])) == 1
    for prefix in ("train", "train/weighted", "val"):
        assert f"{prefix}/feature" in history
        assert f"{prefix}/kd" in history


def test_pictures_of_the_test_split_among_the_unlabelled_ones_are_warned_about(done, digits, tmp_path):
    """The teacher's answers about them are trained on, so the test figures are no longer of unseen pictures."""
    with np.load(digits / "train" / "arrays.npz") as arrays:
        pictures = arrays["x"]
    write_arrays_dataset(tmp_path / "pool", pictures[77:83], None, [], ["train"] * 6)  # 3 of val, 3 of test
    run = Talking(tmp_path / "run")
    open_data(AfdConfig(batch_size=16), Inputs({"train": digits / "train", "unlabelled": tmp_path / "pool"}), run)
    said = "of its pictures are among the unlabelled ones too: its figures flatter the student"
    assert run.lines == [(f"split {name}: 3 {said}", "warning", {}) for name in ("val", "test")]
    assert not [message for message, _, _ in done.run.lines if said in message]


def test_unlabelled_pictures_count_as_part_of_the_models_origin(done):
    bundle = json.loads((done.outcome.bundle / "bundle.json").read_text())
    assert bundle["lineage"]["dataset_digests"].keys() == {"train", "unlabelled"}


def test_a_run_with_unlabelled_pictures_goes_on_where_it_stopped(done, run_afd, digits, tmp_path):
    first = Talking(tmp_path / "two", stop_at=5)
    with pytest.raises(Stopped):
        run_afd(first, unlabelled=True)
    state = read_checkpoint(newest_checkpoint(first.checkpoints))
    assert not any("teacher" in name and "position" not in name for name in state["module"])
    digest = json.loads((digits / "teacher" / "bundle.json").read_text())["files"]["model.safetensors"]
    assert state["depends_on"] == {"teacher": digest}
    outcome = run_afd(Talking(tmp_path / "two"), unlabelled=True)
    one, other = (safetensors.torch.load_file(o.bundle / "model.safetensors") for o in (done.outcome, outcome))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_checkpoint_of_another_teacher_is_refused(run_afd, digits, tmp_path):
    with pytest.raises(Stopped):
        run_afd(Talking(tmp_path / "one", stop_at=2))
    other = safetensors.torch.load_file(digits / "teacher" / "model.safetensors")
    network = build_classifier("resnet14", 4, 1)
    network.load_state_dict(
        {name: 1.001 * value if value.is_floating_point() else value for name, value in other.items()}
    )
    write_teacher(digits / "other", network, "resnet14", CLASSES, RECIPE)
    with pytest.raises(CheckpointError, match="of a run with another teacher"):
        run_afd(Talking(tmp_path / "one"), teacher="other")


def test_classes_in_another_order_are_refused_while_soft_labels_are_on(run_afd):
    with pytest.raises(
        TeacherError, match=r"another order: class 0 is 'digit 3' there, 'digit 0' here.*kd_weight to 0"
    ):
        run_afd(teacher="turned")


def test_a_teacher_of_other_classes_may_teach_by_its_features(run_afd, tmp_path):
    run = Talking(tmp_path / "features")
    outcome = run_afd(run, teacher="turned", kd_weight=0, epochs=1)
    assert any("it teaches by its features alone" in message and level == "warning" for message, level, _ in run.lines)
    content = json.loads((outcome.report / "report.json").read_text())
    assert content["method"]["comparison"]["teacher"] is None
    assert "val/teacher_accuracy" not in content["history"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4, "accumulate": 4}, r"A part of a batch would be one picture \(4 pictures, accumulate 4\)"),
        ({"batch_size": 15, "accumulate": 5, "train_pictures": 7}, "A part of a batch would be one picture"),
    ],
)
def test_batches_of_one_picture_are_refused_before_the_first_step(run_afd, changes, message):
    with pytest.raises(DataError, match=message):
        run_afd(**changes)


def test_pictures_of_other_colours_cannot_join(run_afd, digits, tmp_path):
    write_arrays_dataset(tmp_path / "colour", np.zeros((8, 8, 8, 3), np.uint8), np.full(8, -1), [], ["train"] * 8)
    inputs = Inputs({"train": digits / "train", "unlabelled": tmp_path / "colour"}, {"teacher": digits / "teacher"})
    with pytest.raises(DataError, match="The unlabelled pictures are coloured, those with labels grey"):
        train(AfdConfig.model_validate(SETTINGS), inputs, Talking(tmp_path))


def test_statistics_are_shared_on_gpus_only(monkeypatch, tmp_path):
    monkeypatch.setattr("libs.models.afd.train.join_processes", lambda _: Processes(0, 2))
    method = SimpleNamespace(afd=AFDLoss([3], [3]))
    share_statistics(method, AfdConfig(), SimpleNamespace(device="cpu"))
    with pytest.raises(DataError, match="sync_bn works on GPUs only"):
        share_statistics(method, AfdConfig(sync_bn=True), SimpleNamespace(device="cpu"))
    assert isinstance(method.afd.attention.key_norm, torch.nn.BatchNorm1d)
