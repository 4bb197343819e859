"""How long a model takes on this machine."""

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from libs.serving.bundle import Latency, TensorSpec
from libs.serving.session import ModelSession

ROUNDS = 30
BUDGET_S = 5.0
BATCH_SIZES = (1, 8)


def measure_latency(session: ModelSession, spec: TensorSpec, threads: int = 1) -> list[Latency]:
    """Wall time of batches of 1 and 8: at most 30 rounds each, fewer for a slow model."""
    found = []
    for batch_size in BATCH_SIZES:
        batch = np.zeros((batch_size, *spec.shape[1:]), np.float32)
        times_ms = _times_ms(partial(session.run, batch))
        p50, p90 = np.percentile(times_ms, [50, 90])
        found.append(
            Latency(batch_size=batch_size, threads=threads, p50_ms=float(p50), p90_ms=float(p90), rounds=len(times_ms))
        )
    return found


def _times_ms(run: Callable[[], object]) -> list[float]:
    run()
    times_ms: list[float] = []
    until = perf_counter() + BUDGET_S
    while len(times_ms) < ROUNDS and (not times_ms or perf_counter() < until):
        started = perf_counter()
        run()
        times_ms.append((perf_counter() - started) * 1e3)
    return times_ms
