"""Seeds, the state of every random generator, and repeatable arithmetic."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class NotRepeatableError(RuntimeError):
    """Repeatable arithmetic was asked for, and a part of the network has none on this device."""

    user_error = True


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # libraries draw from the global generator
    torch.manual_seed(seed)


def prepare_randomness(seed: int, deterministic: bool) -> None:
    """What a method does first: seed everything, and choose repeatable kernels or fast ones."""
    make_deterministic(deterministic)
    seed_everything(seed)


def derived_seed(*parts: int) -> int:
    """A seed below 2^63 that depends on every part and their order."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_deterministic(enabled: bool) -> None:
    """Bitwise repeatable kernels, or the fastest ones.

    cuBLAS reads its setting when it starts, so this has to run before the first CUDA operation.
    """
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same switch as use_deterministic_algorithms, which imports the whole compiler first (as long as torch itself).
    torch.set_deterministic_debug_mode("error" if enabled else "default")
    torch.backends.cudnn.benchmark = not enabled
    # Or torch writes NaN into every tensor before a kernel writes its result there: a pass over memory that makes
    # nothing repeatable which was not.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def repeatable_or_refused() -> Iterator[None]:
    """Where a kernel that is not repeatable is met, say which setting allows it; torch names a function of its own.

    Raises:
        NotRepeatableError: such a kernel was met, in deterministic mode.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if "deterministic implementation" not in said:
            raise
        raise NotRepeatableError(
            f"{said.split(', but', 1)[0]} on this device. Set `deterministic` to false, or train another network."
        ) from error


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the generators a training on `device` draws from, as plain values and tensors.

    Other GPUs' generators are left out: a run may go on on another GPU, or on a machine with fewer of them.
    """
    version, words, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    return {
        "python": [version, list(words), gauss],
        "numpy": {
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Continue every generator where `random_state` was taken, that of a GPU on `device`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    saved = state["numpy"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": saved["key"].numpy().astype(np.uint32), "pos": saved["pos"]},
            "has_gauss": saved["has_gauss"],
            "gauss": saved["gauss"],
        }
    )
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
