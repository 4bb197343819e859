import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from onnx import numpy_helper
from torch import nn

from libs.data.images import open_images
from libs.data.preprocess import default_recipe
from libs.serving.bundle import ClassifierBundle, Lineage, Parity, write_bundle
from libs.serving.classifier import load
from libs.serving.errors import LoadError
from libs.serving.repository import Identity, RunSettings
from libs.training.export import export_classifier
from libs.training.onnx_export import OPSET, compare_logits, export_onnx, measure_parity, open_session


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    with torch.no_grad():
        network(torch.randn(64, 1, 8, 8) * 2 + 1)  # running statistics that are not the initial ones
    return network.to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def exported(
    classifier: nn.Module, bars: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ClassifierBundle]:
    data = open_images(bars)
    folder = tmp_path_factory.mktemp("bundle")
    bundle = export_classifier(
        classifier,
        folder,
        architecture="tiny",
        labels=data.manifest.classes,
        recipe=default_recipe(data.manifest),
        pictures=data.split("test"),
        lineage=Lineage(method="test", seed=3),
        metrics={"test/accuracy": 0.5},
        temperature=1.5,
    )
    return folder, bundle


def test_bundle_describes_its_files(exported: tuple[Path, ClassifierBundle]) -> None:
    folder, bundle = exported
    assert ClassifierBundle.model_validate_json((folder / "bundle.json").read_bytes()) == bundle
    assert set(bundle.files) == {"model.onnx", "model.safetensors", "recipe.json", "sample.npz"}
    for name, digest in bundle.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert json.loads((folder / "recipe.json").read_text()) == bundle.recipe.model_dump(mode="json")
    assert bundle.inputs[0].shape == [-1, 1, 8, 8]
    assert bundle.outputs[0].shape == [-1, 3]
    assert [latency.batch_size for latency in bundle.latency] == [1, 16]
    assert all(0 < latency.p50_ms <= latency.p90_ms and latency.threads == 1 for latency in bundle.latency)


def test_parity_is_measured_on_the_whole_small_split(exported: tuple[Path, ClassifierBundle]) -> None:
    parity = exported[1].parity
    assert parity is not None
    assert (parity.samples, parity.passed, parity.argmax_disagreements) == (24, True, 0)


def test_weights_have_the_plain_keys(exported: tuple[Path, ClassifierBundle], classifier: nn.Module) -> None:
    state = safetensors.torch.load_file(exported[0] / "model.safetensors")
    assert state.keys() == classifier.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in classifier.state_dict().items())


def test_the_sample_is_what_the_torch_model_answers(
    exported: tuple[Path, ClassifierBundle], classifier: nn.Module
) -> None:
    with np.load(exported[0] / "sample.npz", allow_pickle=False) as sample:
        rows, logits = sample["input"], sample["logits"]
    assert (rows.dtype, rows.shape, logits.shape) == (np.float32, (2, 1, 8, 8), (2, 3))
    expected = copy.deepcopy(classifier).eval()(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_server_loads_the_bundle_and_refuses_it_with_other_weights(
    exported: tuple[Path, ClassifierBundle], tmp_path: Path
) -> None:
    folder = shutil.copytree(exported[0], tmp_path / "bundle")
    identity = Identity("tiny", 1, "0" * 64)
    load(folder, identity, RunSettings()).close()
    model = onnx.load(folder / "model.onnx")
    weights = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [3, 8])
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.05, weights.name))
    onnx.save(model, folder / "model.onnx")
    write_bundle(folder, exported[1])
    with pytest.raises(LoadError, match="the loaded model and the recorded sample differ by"):
        load(folder, identity, RunSettings())


def test_the_classifier_is_left_as_it_was(exported: tuple[Path, ClassifierBundle], classifier: nn.Module) -> None:
    assert classifier.training
    assert classifier[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_any_batch_size_runs(exported: tuple[Path, ClassifierBundle], classifier: nn.Module, batch: int) -> None:
    model = onnx.load(exported[0] / "model.onnx")
    assert model.opset_import[0].version == OPSET >= 17
    session = onnxruntime.InferenceSession(exported[0] / "model.onnx", providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(0).normal(size=(batch, 1, 8, 8)).astype(np.float32)
    (logits,) = session.run(["logits"], {"input": pictures})
    classifier.eval()
    expected = classifier(torch.from_numpy(pictures)).detach().numpy()
    classifier.train()
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_model_that_is_not_the_one_fails_the_gate(
    exported: tuple[Path, ClassifierBundle], classifier: nn.Module
) -> None:
    other = nn.Sequential(classifier, nn.Linear(3, 3, bias=False)).eval()
    with torch.no_grad():
        other[1].weight.copy_(torch.eye(3) * 1.001)
    pictures = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)
    parity = measure_parity(other, open_session(exported[0] / "model.onnx"), pictures)
    classifier.train()
    assert not parity.passed
    assert parity.max_abs_diff > parity.tolerance


def test_a_failed_gate_is_recorded_not_raised(
    classifier: nn.Module, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_another(network: nn.Module, *arguments: Any) -> None:
        torch.manual_seed(1)
        network[5].reset_parameters()
        export_onnx(network, *arguments)
        network[5].reset_parameters()

    monkeypatch.setattr("libs.training.export.export_onnx", export_another)
    data = open_images(bars)
    bundle = export_classifier(
        classifier,
        tmp_path,
        architecture="tiny",
        labels=data.manifest.classes,
        recipe=default_recipe(data.manifest),
        pictures=data.split("test"),
        lineage=Lineage(method="test"),
        metrics={},
    )
    assert bundle.parity is not None
    assert not bundle.parity.passed
    assert (tmp_path / "bundle.json").is_file()


@pytest.mark.parametrize(
    ("expected", "found", "passed", "disagreements"),
    [
        ([[1.0, 0.0]], [[1.0 + 5e-5, 0.0]], True, 0),
        ([[1.0, 0.0]], [[1.0 + 2e-4, 0.0]], False, 0),
        ([[1000.0, 0.0]], [[1000.05, 0.0]], True, 0),  # the tolerance grows with the logits
        ([[1e-5, 0.0]], [[0.0, 1e-5]], True, 0),  # too close to call: not held against it
        ([[1.0, 0.0]], [[0.0, 1.0]], False, 1),
        ([[1.0, 0.0]], [[float("nan"), 0.0]], False, 0),
    ],
)
def test_what_counts_as_equal(
    expected: list[list[float]], found: list[list[float]], passed: bool, disagreements: int
) -> None:
    parity = compare_logits(torch.tensor(expected), torch.tensor(found))
    assert (parity.passed, parity.argmax_disagreements) == (passed, disagreements)
    read = Parity.model_validate_json(parity.model_dump_json())
    assert read.model_dump() == pytest.approx(parity.model_dump(), nan_ok=True)  # or no gate would see the failure
