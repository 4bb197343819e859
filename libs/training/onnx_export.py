"""From a torch classifier to an ONNX model, and proof that both compute the same."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.preprocess import apply
from libs.data.recipe import Recipe
from libs.serving.bundle import Latency, Parity

OPSET = 18
INPUT, OUTPUT = "input", "logits"
PARITY_SAMPLES = 256
PARITY_TOLERANCE = 1e-4
_PARITY_BATCH = 32
_WARM_UP_ROUNDS = 3
_LATENCY_ROUNDS = 30
_LATENCY_BUDGET_S = 5.0

Session: TypeAlias = onnxruntime.InferenceSession


def export_onnx(classifier: nn.Module, recipe: Recipe, path: Path) -> None:
    """Write the classifier as an ONNX model with a free batch dimension.

    Args:
        classifier: [N, C, H, W] float32 → logits [N, K], on the CPU.
        recipe: gives C, H and W.
    """
    example = torch.zeros(2, recipe.channels, recipe.height, recipe.width)
    program = torch.onnx.export(
        classifier.eval(),
        (example,),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("N")},),
    )
    assert program is not None
    program.save(path, external_data=False)


def open_session(path: Path, threads: int = 0) -> Session:
    """ONNX Runtime on the CPU; 0 threads: its own choice."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_session(session: Session, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [N, K] of prepared pictures [N, C, H, W]."""
    logits: NDArray[np.float32] = session.run([OUTPUT], {INPUT: pictures})[0]
    return logits


def sample_pictures(split: ImageSplit, recipe: Recipe, limit: int = PARITY_SAMPLES) -> NDArray[np.float32]:
    """Up to `limit` pictures of a split, evenly spaced, prepared as in serving: [N, C, H, W]."""
    positions = np.unique(np.linspace(0, len(split) - 1, min(limit, len(split))).round().astype(int))
    return np.stack([apply(recipe, split.picture(int(position))) for position in positions])


@torch.inference_mode()
def measure_parity(classifier: nn.Module, session: Session, pictures: NDArray[np.float32]) -> Parity:
    """Compare torch and ONNX logits z on real pictures [N, C, H, W].

    Passed when max |difference| <= 1e-4 max(1, max |z|), and both name the same class wherever the two largest
    logits are more than twice that tolerance apart.
    """
    batches = [pictures[i : i + _PARITY_BATCH] for i in range(0, len(pictures), _PARITY_BATCH)]
    expected = torch.cat([classifier(torch.from_numpy(batch)) for batch in batches]).double()
    found = torch.from_numpy(np.concatenate([run_session(session, batch) for batch in batches])).double()
    return compare_logits(expected, found)


def compare_logits(expected: Tensor, found: Tensor) -> Parity:
    """The parity of two sets of logits [N, K]; a value that is not finite fails."""
    tolerance = PARITY_TOLERANCE * max(1.0, float(expected.abs().max()))
    difference = float((expected - found).abs().max())
    top = expected.topk(2).values
    decided = top[:, 0] - top[:, 1] > 2 * tolerance
    disagreements = int((decided & (expected.argmax(1) != found.argmax(1))).sum())
    return Parity(
        samples=len(expected),
        max_abs_diff=difference,
        tolerance=tolerance,
        argmax_disagreements=disagreements,
        passed=difference <= tolerance and disagreements == 0,
    )


def measure_latency(path: Path, recipe: Recipe, batch_sizes: Sequence[int] = (1, 16)) -> list[Latency]:
    """Wall time of one call on one thread, after a warm-up; fewer rounds where a call is slow."""
    session = open_session(path, threads=1)
    shape = recipe.channels, recipe.height, recipe.width
    return [
        latency_of(session, {INPUT: np.zeros((batch_size, *shape), np.float32)}, batch_size)
        for batch_size in batch_sizes
    ]


def latency_of(session: Session, inputs: Mapping[str, NDArray[Any]], batch_size: int) -> Latency:
    """Wall time of one call of a session on one thread with these inputs, by name."""
    for _ in range(_WARM_UP_ROUNDS):
        session.run(None, inputs)
    times_ms: list[float] = []
    deadline = time.perf_counter() + _LATENCY_BUDGET_S
    while not times_ms or (len(times_ms) < _LATENCY_ROUNDS and time.perf_counter() < deadline):
        started = time.perf_counter()
        session.run(None, inputs)
        times_ms.append((time.perf_counter() - started) * 1000)
    p50, p90 = np.quantile(times_ms, [0.5, 0.9])
    return Latency(batch_size=batch_size, threads=1, p50_ms=p50, p90_ms=p90, rounds=len(times_ms))
