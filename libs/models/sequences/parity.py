"""Proof that what is served computes what was trained, and how long it takes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.data.events.store import EventStore
from libs.data.events.windows import Split, read, windows_of
from libs.models.sequences.graphs import Servable, initial_state
from libs.serving.bundle import MODEL_FILE, Latency, Parity
from libs.training.onnx_export import PARITY_TOLERANCE, latency_of, open_session

SAMPLES = 256
STEPPED = 4
_BATCH = 32
_STEPPED_EVENTS = 30

Longs = NDArray[np.int64]


def sample_histories(events: EventStore, max_length: int, limit: int = SAMPLES) -> tuple[Longs, Longs, Longs]:
    """Items [S, n], lengths [S] and users [S] of real histories, evenly spaced, preferably of the validation split.

    They are cut to rising lengths, so that short ones occur where people have long ones.
    """
    splits: tuple[Split, ...] = ("val", "test", "train")
    windows = next(found for split in splits if len(found := windows_of(events, split, max_length)))
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(limit, len(windows))).round().astype(np.int64))
    batch = read(events, windows.take(chosen))
    lengths = np.minimum(batch.lengths, 1 + np.arange(len(chosen)) % batch.inputs.shape[1])
    lengths = np.where(np.arange(len(chosen)) % 2, lengths, batch.lengths)
    items = np.where(np.arange(batch.inputs.shape[1]) < lengths[:, None], batch.inputs, 0)
    return items, lengths, batch.users + 1


@torch.inference_mode()
def measure_parity(
    servable: Servable, folder: Path, item_vectors: Tensor, items: Longs, lengths: Longs, users: Longs
) -> Parity:
    """Compare torch with model.onnx, and with step.onnx event by event, where there is one.

    Passed when max |difference| of features f is at most 1e-4 max(1, max |f|), and both name the same item wherever
    no difference of that size could turn the two best: |f - f'| |v|_1 bounds what a score may move.
    """
    session = open_session(folder / MODEL_FILE)
    expected, found = [], []
    for some in _batches(len(items)):
        longest = int(lengths[some].max())
        inputs = servable.inputs_of(items[some, :longest], lengths[some], users[some])
        expected.append(servable.features(**{name: torch.from_numpy(part) for name, part in inputs.items()}))
        found.append(torch.from_numpy(session.run(None, inputs)[0]))
    wanted, served = torch.cat(expected), torch.cat(found)
    difference = float((wanted.double() - served.double()).abs().max())
    if servable.step is not None:
        difference = max(difference, _stepped_difference(servable, folder, items[:STEPPED], lengths[:STEPPED]))
    tolerance = PARITY_TOLERANCE * max(1.0, float(wanted.abs().max()))
    disagreements = _disagreements(wanted, served, item_vectors, tolerance)
    return Parity(
        samples=len(items),
        max_abs_diff=difference,
        tolerance=tolerance,
        argmax_disagreements=disagreements,
        passed=difference <= tolerance and disagreements == 0,
    )


def _batches(rows: int) -> Iterator[slice]:
    return (slice(begin, begin + _BATCH) for begin in range(0, rows, _BATCH))


def _disagreements(wanted: Tensor, served: Tensor, item_vectors: Tensor, tolerance: float) -> int:
    table = item_vectors[1:]
    margin = 2 * tolerance * float(table.abs().sum(1).max())
    count = 0
    for some in _batches(len(wanted)):
        best = (wanted[some] @ table.T).topk(2)
        decided = best.values[:, 0] - best.values[:, 1] > margin
        count += int((decided & (best.indices[:, 0] != (served[some] @ table.T).argmax(1))).sum())
    return count


def _stepped_difference(servable: Servable, folder: Path, items: Longs, lengths: Longs) -> float:
    """Largest difference of features between the events one by one and each history from its beginning."""
    session = open_session(folder / "step.onnx")
    worst = 0.0
    for row, length in zip(items, lengths, strict=True):
        history = row[None, : min(int(length), _STEPPED_EVENTS)]
        for position, served in enumerate(run_steps(session, servable, history), 1):
            wanted = servable.features(torch.from_numpy(history[:, :position]), torch.tensor([position]))
            worst = max(worst, float((wanted - torch.from_numpy(served)).abs().max()))
    return worst


def run_steps(session: onnxruntime.InferenceSession, servable: Servable, items: Longs) -> Iterator[NDArray[np.float32]]:
    """Features [N, d] after each event of histories [N, n] of one length, from step.onnx."""
    state = {name: value.numpy() for name, value in initial_state(servable.state, len(items)).items()}
    for item in items.T:
        features, *after = session.run(None, {"item": np.ascontiguousarray(item), **state})
        state = dict(zip(state, after, strict=True))
        yield features


def measure_latency(servable: Servable, path: Path, max_length: int) -> list[Latency]:
    """Wall time of one call on one thread, for 1 and 16 histories of the greatest length."""
    session = open_session(path, threads=1)
    found = []
    for rows in (1, 16):
        items, lengths = np.ones((rows, max_length), np.int64), np.full(rows, max_length, np.int64)
        found.append(latency_of(session, servable.inputs_of(items, lengths, np.zeros(rows, np.int64)), rows))
    return found
