"""The task `predict`: one row a picture, whatever is wrong with it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from libs.data.images.index import Row
from libs.data.statistics import PixelSums
from libs.data.write import write_manifest
from libs.jobs.tasks import TASKS, PredictConfig
from libs.serving.predict import COLUMNS
from libs.training.run import Inputs
from tests.support.bundles import make_bundle, make_overflowing_bundle


@pytest.fixture
def model(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "model", labels=("dark", "middle", "bright"))
    return tmp_path / "model"


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def test_every_picture_has_a_row(model: Path, shades: Callable[..., Path], remembering_run) -> None:
    data = shades([0, 100, 255], None, [])
    config = PredictConfig(batch_size=2, top_k=2)

    outcome = TASKS["predict"].load()(config, Inputs({"data": data}, {"model": model}), remembering_run)

    rows = rows_of(outcome.files["predictions.csv"])
    assert tuple(rows[0]) == COLUMNS
    assert [(row["id"], row["label"], row["error"]) for row in rows] == [
        ("0", "dark", ""), ("1", "dark", ""), ("2", "bright", "")
    ]  # fmt: skip
    best = json.loads(rows[0]["top_k"])
    assert [label for label, _ in best] == ["dark", "middle"]
    assert best[0][1] == pytest.approx(float(rows[0]["probability"]))
    assert outcome.details["pictures"] == 3


def test_a_bad_picture_does_not_stop_it(model: Path, tmp_path: Path, remembering_run) -> None:
    data = _picture_folder(tmp_path / "data", {"a.png": 0, "sub/ü b.png": 255, "c.png": 255})
    (data / "pictures" / "a.png").write_bytes(b"no picture")
    (data / "pictures" / "c.png").unlink()

    outcome = TASKS["predict"].load()(PredictConfig(), Inputs({"data": data}, {"model": model}), remembering_run)

    rows = {row["path"]: row for row in rows_of(outcome.files["predictions.csv"])}
    assert rows["sub/ü b.png"]["label"] == "bright"
    assert "not a picture" in rows["a.png"]["error"]
    assert "cannot be read" in rows["c.png"]["error"]
    assert rows["a.png"]["label"] == ""
    assert (outcome.details["pictures"], outcome.details["unreadable"]) == (1, 2)
    assert "2 pictures could not be read" in remembering_run.logged[0]


def test_an_answer_that_is_not_finite_is_an_error_of_its_picture(
    tmp_path: Path, shades: Callable[..., Path], remembering_run
) -> None:
    make_overflowing_bundle(tmp_path / "model")
    inputs = Inputs({"data": shades([0, 255, 10], None, [])}, {"model": tmp_path / "model"})
    outcome = TASKS["predict"].load()(PredictConfig(), inputs, remembering_run)
    found = [(row["label"], row["error"]) for row in rows_of(outcome.files["predictions.csv"])]
    assert found == [("bright", ""), ("", "the model's output for this picture is not finite"), ("bright", "")]


def _picture_folder(folder: Path, pictures: dict[str, int]) -> Path:
    rows = []
    for name, value in pictures.items():
        pixels = np.full((8, 8), value, np.uint8)
        file = folder / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        rows.append(Row(name, -1, "train", 8, 8, "L", "0" * 64))
    sums = PixelSums.of_pictures(np.zeros((1, 8, 8, 1), np.uint8))
    write_manifest(
        folder, rows, storage="pictures", classes=[], sums=sums, size=(8, 8), uniform_size=True, size_bytes=1
    )
    return folder
