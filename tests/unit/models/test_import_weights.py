"""Weights from outside, under the name of their architecture."""

from pathlib import Path
from uuid import uuid4

import pytest
import safetensors.torch
import torch

from libs.models.backbones.build import build_classifier
from libs.models.import_weights import WeightsRefused, run
from libs.registry.gates import check_gates, first_failure
from libs.registry.import_config import ImportWeightsConfig
from libs.serving.folder import read_bundle
from libs.training.local_run import LocalRun
from libs.training.run import Inputs
from tests.support.bundles import recipe

CONFIG = ImportWeightsConfig(artifact=uuid4(), architecture="resnet8", labels=["a", "b", "c"], recipe=recipe(size=16))


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "in").mkdir()
    weights = build_classifier("resnet8", 3, 1).state_dict()
    safetensors.torch.save_file(weights, tmp_path / "in" / "upload")
    return tmp_path / "in"


def test_weights_become_a_bundle_that_passes_its_gates(upload: Path, tmp_path: Path) -> None:
    with LocalRun(tmp_path / "run", quiet=True) as local_run:
        outcome = run(CONFIG, Inputs({"upload": upload}), local_run)
    bundle = read_bundle(outcome.bundle)
    assert (bundle.architecture, bundle.labels) == ("resnet8", ["a", "b", "c"])
    assert first_failure(check_gates(bundle)) is None
    kept = safetensors.torch.load_file(outcome.bundle / "model.safetensors")
    given = safetensors.torch.load_file(upload / "upload")
    assert all(torch.equal(kept[name], given[name]) for name in given)


def test_what_does_not_fit_is_refused(upload: Path, tmp_path: Path) -> None:
    local_run = LocalRun(tmp_path / "run", quiet=True)

    def refused(message: str, **changes: object) -> None:
        with pytest.raises(WeightsRefused, match=message):
            run(CONFIG.model_copy(update=changes), Inputs({"upload": upload}), local_run)

    refused("no classifier 'resnet9'.*resnet8", architecture="resnet9")
    refused("missing: stages", architecture="resnet14")
    refused(r"of another shape: .* is \[3.*wanted \[2", labels=["a", "b"])
    weights = safetensors.torch.load_file(upload / "upload")
    weights["fc.bias"][1] = float("nan")
    safetensors.torch.save_file(weights, upload / "upload")
    refused(r"1 of the file's tensors hold NaN or infinity: fc\.bias")
    (upload / "upload").write_bytes(b"no tensors")
    refused("no safetensors file")
    assert WeightsRefused.user_error
