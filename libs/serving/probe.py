"""The last look at a model before it serves: does it still compute what was recorded, and the same in any batch?

An exported bundle carries `sample.npz` with `input` float32 [n, C, H, W] and `logits` float32 [n, K] of the torch
model. Without it, as in an imported graph, the model is compared with itself: a picture alone, and the same picture
among others.
"""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from libs.serving.bundle import ClassifierBundle
from libs.serving.errors import LoadError
from libs.serving.session import ModelSession

SAMPLE_FILE = "sample.npz"
TOLERANCE = 1e-3
"""Times max(1, max |logit|). Ten times the export gate: other hardware and batch sizes round otherwise."""


def probe(session: ModelSession, bundle: ClassifierBundle, folder: Path, max_rows: int) -> None:
    """Run the model on batches of one and of `max_rows`, which also warms it up.

    Raises:
        LoadError: it fails, its output has another shape or is not finite, or the numbers differ too much.
    """
    rows, recorded = _sample(bundle, folder)
    alone = _run(session, bundle, rows[:1])
    batch = np.concatenate([rows] * -(-max_rows // len(rows)))[:max_rows]
    together = _run(session, bundle, batch)
    compare("a batch of one and a larger batch", alone[0], together[0])
    if recorded is not None:
        known = min(len(recorded), len(together))
        compare("the loaded model and the recorded sample", recorded[:known], together[:known])


def _run(session: ModelSession, bundle: ClassifierBundle, rows: NDArray[np.float32]) -> NDArray[Any]:
    try:
        output = session.run(rows)
    except Exception as error:  # onnxruntime raises a family of classes with no public base
        raise LoadError(f"the model fails on a batch of {len(rows)}: {error}") from error
    if output.shape != (len(rows), len(bundle.labels)):
        raise LoadError(f"{len(rows)} pictures gave an output {output.shape}, not [{len(rows)}, {len(bundle.labels)}]")
    if not np.isfinite(output).all():
        raise LoadError("the model's output is not finite")
    return output


def compare(what: str, expected: NDArray[Any], found: NDArray[Any]) -> None:
    """Hold two answers that should be equal against each other.

    Raises:
        LoadError: they differ by more than the tolerance, or one is NaN.
    """
    difference = float(np.abs(expected - found).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise LoadError(f"{what} differ by {difference:.3g}, allowed is {allowed:.3g}")


def _sample(bundle: ClassifierBundle, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    shape = bundle.inputs[0].shape[1:]
    file = folder / SAMPLE_FILE
    if not file.is_file():
        generator = np.random.default_rng(0)
        return generator.standard_normal((4, *shape), dtype=np.float32), None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            rows, logits = arrays["input"], arrays["logits"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LoadError(f"{SAMPLE_FILE} cannot be read: {error}") from error
    if rows.dtype != np.float32 or list(rows.shape[1:]) != shape or len(rows) != len(logits) or not len(rows):
        raise LoadError(f"{SAMPLE_FILE} holds {rows.dtype} {rows.shape} for {len(logits)} outputs, wanted {shape}")
    return rows, logits
