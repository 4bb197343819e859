"""Tiny served models without torch: logits = weight · (mean of each channel) + bias."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from libs.data.recipe import Recipe
from libs.serving.bundle import MODEL_FILE, WEIGHTS_FILE, ClassifierBundle, Lineage, Parity, TensorSpec, write_bundle

PASSED = Parity(samples=8, max_abs_diff=1e-7, tolerance=1e-4, argmax_disagreements=0, passed=True)


def make_bundle(
    folder: Path,
    *,
    labels: Sequence[str] = ("dark", "bright"),
    channels: int = 1,
    size: int = 8,
    bias: Sequence[float] | None = None,
    temperature: float = 1.0,
    parity: Parity | None = PASSED,
    lineage: Lineage | None = None,
) -> ClassifierBundle:
    """Write a bundle whose first label wins on dark pictures and last on bright ones."""
    folder.mkdir(parents=True, exist_ok=True)
    weight, offset = parameters(len(labels), channels, bias)
    model = graph(weight, offset, channels, size)
    onnx.save(model, str(folder / MODEL_FILE))
    save_file({"weight": weight, "bias": offset}, str(folder / WEIGHTS_FILE))
    return write_bundle(
        folder,
        ClassifierBundle(
            architecture="mean-linear",
            labels=list(labels),
            recipe=recipe(channels, size),
            inputs=[TensorSpec(name="input", datatype="FP32", shape=[-1, channels, size, size])],
            outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, len(labels)])],
            metrics={"test/accuracy": 0.9},
            temperature=temperature,
            parameters=weight.size + offset.size,
            parity=parity,
            lineage=lineage or Lineage(method="supervised", seed=0, code_version="test"),
        ),
    )


def make_overflowing_bundle(folder: Path) -> None:
    """Write a bundle whose logits are infinite for white pictures, and finite for others."""
    bundle = make_bundle(folder)
    weight = np.array([[0], [3e38]], np.float32)
    onnx.save(graph(weight, weight[:, 0]), str(folder / MODEL_FILE))
    write_bundle(folder, bundle)


def recipe(channels: int = 1, size: int = 8) -> Recipe:
    return Recipe(
        channels=1 if channels == 1 else 3, height=size, width=size, mean=[0.0] * channels, std=[1.0] * channels
    )


def parameters(
    classes: int, channels: int, bias: Sequence[float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight [K, C] from -4 to 4 and bias [K]."""
    weight = np.repeat(np.linspace(-4, 4, classes, dtype=np.float32)[:, None], channels, axis=1) / channels
    offset = np.asarray(bias, np.float32) if bias is not None else -weight.sum(axis=1) / 2
    return weight, offset


def logits(
    bundle: ClassifierBundle, rows: NDArray[np.float32], bias: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """What the model computes, in numpy: [N, C, H, W] → [N, K]."""
    weight, offset = parameters(len(bundle.labels), bundle.recipe.channels, bias)
    return rows.mean(axis=(2, 3)) @ weight.T + offset


def graph(
    weight: NDArray[np.float32], offset: NDArray[np.float32], channels: int = 1, size: int = 8
) -> onnx.ModelProto:
    """input [N, C, H, W] → mean → Gemm → logits [N, K]."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weight", "bias"], ["logits"], transB=1),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "mean-linear",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, size, size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(offset)])],
            [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(offset, "bias")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model
