"""Bundles that are refused, each with what is wrong."""

from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from libs.serving.bundle import write_bundle
from libs.serving.errors import LoadError
from libs.serving.folder import read_next_item_bundle
from libs.serving.recommendation.model import load
from libs.serving.repository import RunSettings
from tests.support.bundles import make_bundle
from tests.support.recommenders import IDENTITY, encoder_graph, item_vectors, make_recommender, step_graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_recommender(tmp_path / "bundle")
    return tmp_path / "bundle"


def refused(folder: Path, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        load(folder, IDENTITY, RunSettings())


def rewrite(folder: Path, change) -> None:
    """Change files, then list their digests anew."""
    bundle = read_next_item_bundle(folder)
    change()
    write_bundle(folder, bundle)


def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as content:
        return dict(content)


def test_a_classifier_is_refused(tmp_path):
    make_bundle(tmp_path / "b")
    refused(tmp_path / "b", "one that recommends items is needed")


def test_a_changed_file_is_refused(folder):
    (folder / "items.parquet").write_bytes(b"x")
    refused(folder, r"items\.parquet is not what the bundle recorded")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("item_vectors.npy", "item_vectors.npy cannot be read"),
        ("items.parquet", "items.parquet cannot be read"),
        ("neighbours.npz", "neighbours.npz cannot be read"),
        ("sample.npz", "sample.npz cannot be read"),
        ("model.onnx", "model.onnx cannot be loaded"),
        ("step.onnx", "step.onnx cannot be loaded"),
    ],
)
def test_a_file_of_noise_is_refused(folder, file, words):
    rewrite(folder, lambda: (folder / file).write_bytes(b"noise"))
    refused(folder, words)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (item_vectors(11, 4), "wanted float32"),
        (item_vectors(12, 4).astype(np.float64), "wanted float32"),
        (np.asfortranarray(item_vectors(12, 4)), "by rows"),
        (np.ones((13, 4), np.float32), "row 0"),
        (np.where(np.arange(13)[:, None] == 5, np.float32(np.nan), item_vectors(12, 4)), "not finite"),
    ],
)
def test_wrong_vectors_are_refused(folder, table, words):
    rewrite(folder, lambda: np.save(folder / "item_vectors.npy", table))
    refused(folder, words)


def items_with(folder: Path, **columns) -> None:
    frame = pl.read_parquet(folder / "items.parquet").with_columns(**columns)
    rewrite(folder, lambda: frame.write_parquet(folder / "items.parquet"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"index": pl.col("index") + 1}, "does not number its 12 items"),
        ({"id": pl.lit("same")}, "missing or repeated ids"),
        ({"id": pl.lit(None, dtype=pl.String)}, "missing or repeated ids"),
        ({"training_count": -pl.col("training_count")}, "fewer than 0"),
        ({"price": pl.lit("cheap")}, "items.parquet cannot be read"),
    ],
)
def test_wrong_items_are_refused(folder, columns, words):
    items_with(folder, **columns)
    refused(folder, words)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": ["n", "n"], "category": ["red", None], "price": [1.0, None]}, "missing or repeated ids"),
        ({"id": ["n"], "category": ["red"]}, r"new_items\.parquet cannot be read"),
    ],
)
def test_wrong_new_items_are_refused(folder, columns, words):
    rewrite(folder, lambda: pl.DataFrame(columns).write_parquet(folder / "new_items.parquet"))
    refused(folder, words)


def test_nan_among_features_is_missing(folder):
    items_with(folder, price=pl.lit(float("nan")))
    model = load(folder, IDENTITY, RunSettings())
    assert not model.filters.blocked({"price": {"missing": True}}).mask()[1:].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(items=found["items"] + 5),
        lambda found: found.update(items=found["items"].astype(np.int64)),
        lambda found: found.update(users=found["users"][:, :1]),
        lambda found: found.update(items=found["items"][:-1], users=found["users"][:-1]),
    ],
)
def test_wrong_neighbours_are_refused(folder, change):
    found = arrays(folder / "neighbours.npz")
    change(found)
    rewrite(folder, lambda: np.savez(folder / "neighbours.npz", **found))
    refused(folder, "neighbours.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.update(features=found["features"] + 0.01), "recorded sample differ"),
        (lambda found: found.update(features=found["features"] * np.nan), "recorded sample differ"),
        (lambda found: found.update(features=found["features"][:, :2]), "has features"),
        (lambda found: found.update(lengths=found["lengths"] + 9), "has lengths"),
        (lambda found: found.update(items=found["items"] + 7), "has items"),
        (lambda found: found.update(items=found["items"].astype(np.int32)), "int64"),
        (lambda found: found.pop("features"), "cannot be read"),
    ],
)
def test_wrong_samples_are_refused(folder, change, words):
    found = arrays(folder / "sample.npz")
    change(found)
    rewrite(folder, lambda: np.savez(folder / "sample.npz", **found))
    refused(folder, words)


def test_another_models_encoder_is_refused(folder):
    graph = encoder_graph(item_vectors(12, 4, seed=1))
    rewrite(folder, lambda: onnx.save(graph, str(folder / "model.onnx")))
    refused(folder, "the loaded model and the recorded sample differ")


def test_another_models_steps_are_refused(folder):
    graph = step_graph(item_vectors(12, 4, seed=1))
    rewrite(folder, lambda: onnx.save(graph, str(folder / "step.onnx")))
    refused(folder, "model.onnx and step.onnx differ")


def test_an_encoder_of_another_width_is_refused(folder):
    graph = encoder_graph(item_vectors(12, 3))
    rewrite(folder, lambda: onnx.save(graph, str(folder / "model.onnx")))
    refused(folder, "fails on its own sample")


def test_a_graph_with_other_names_is_refused(folder):
    rewrite(folder, lambda: (folder / "explain.onnx").write_bytes((folder / "model.onnx").read_bytes()))
    refused(folder, "explain.onnx has the outputs features; the bundle says attention")


@pytest.mark.parametrize("changes", [{"state": []}, {"explanations": []}])
def test_a_graph_that_the_bundle_does_not_describe_is_refused(folder, changes):
    write_bundle(folder, read_next_item_bundle(folder).model_copy(update=changes))
    refused(folder, "does not describe")
