"""Sessions run where they were asked to run, or say why not."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from libs.serving.errors import LoadError, ProviderError
from libs.serving.session import ModelSession, check_providers
from tests.support.bundles import graph, logits, make_bundle, parameters


def test_a_session_computes_what_the_graph_says(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, labels=("a", "b", "c"), channels=3)
    session = ModelSession(tmp_path / "model.onnx", threads=1)
    batch = np.random.default_rng(0).random((5, 3, 8, 8), np.float32)
    assert session.providers == ["CPUExecutionProvider"]
    assert (session.input_name, session.output_name) == ("input", "logits")
    assert session.run(batch) == pytest.approx(logits(bundle, batch), abs=1e-5)


def test_cuda_asked_and_absent_fails(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert ModelSession(tmp_path / "model.onnx", "cuda").providers[0] == "CUDAExecutionProvider"
        return
    with pytest.raises(ProviderError, match=r"cuda was asked for.*inference-gpu"):
        ModelSession(tmp_path / "model.onnx", "cuda")


def test_a_provider_that_fell_back_in_silence_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with CUDA on a machine without: the provider is listed, and the session runs on the CPU."""
    make_bundle(tmp_path)
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda model, options, providers: real(model, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(ProviderError, match="runs on CPUExecutionProvider"):
        ModelSession(tmp_path / "model.onnx", "cuda")
    check_providers("CUDAExecutionProvider", ["CUDAExecutionProvider", "CPUExecutionProvider"])


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(LoadError, match=r"model\.onnx cannot be loaded"):
        ModelSession(tmp_path / "model.onnx")


def test_one_input_and_one_output_are_served(tmp_path: Path) -> None:
    model = graph(*parameters(2, 1))
    model.graph.output.append(model.graph.output[0].__class__.FromString(model.graph.output[0].SerializeToString()))
    model.graph.output[1].name = "means"
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 1
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(LoadError, match="2 outputs"):
        ModelSession(tmp_path / "model.onnx")
