"""What the engine adds to the least that a recommendation costs: one ORT run, one product, one selection.

100,000 items of 64 numbers, histories of 20 item ids, k 20, seen items left out, one thread. The encoder is a mean of
vectors, so that next to nothing hides what comes around it. Raw and engine take turns request by request; wall p50 and
median CPU time of one request, and their ratios. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.serving --rounds 400
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.result_file import write_result
from libs.serving.recommendation.engine import recommend
from libs.serving.recommendation.model import LoadedRecommender, load
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from libs.serving.session import open_session
from tests.support.recommenders import IDENTITY, make_recommender

LENGTH, K = 20, 20
LIMIT = 1.5


def raw(
    session: onnxruntime.InferenceSession, table: NDArray[np.float32], numbers: dict[str, int], history: list[str]
) -> list[int]:
    """Ids to the numbers of the best items, with nothing around it."""
    items = np.array([[numbers[item] for item in history]], np.int64)
    (features,) = session.run(["features"], {"items": items, "lengths": np.array([items.shape[1]], np.int64)})
    scores = table @ features[0]
    scores[0] = -np.inf
    scores[items[0]] = -np.inf
    best = np.argpartition(scores, -K)[-K:]
    return best[np.argsort(-scores[best])].tolist()


def take_turns(
    ways: dict[str, Callable[[list[str]], object]], histories: list[list[str]]
) -> dict[str, dict[str, float]]:
    """Every history answered by each way; the first ten warm up."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for history in histories:
        for name, way in ways.items():
            wall_began, cpu_began = time.perf_counter(), time.process_time()
            way(history)
            cpu[name].append((time.process_time() - cpu_began) * 1e3)
            wall[name].append((time.perf_counter() - wall_began) * 1e3)
    return {
        name: {"wall_p50_ms": float(np.median(wall[name][10:])), "cpu_median_ms": float(np.median(cpu[name][10:]))}
        for name in ways
    }


def check_equal(model: LoadedRecommender, answer: Callable[[list[str]], list[int]], history: list[str]) -> None:
    """Both ways must say the same, or their times compare nothing."""
    found = [item.id for item in recommend(model, RecommendationRequest(history, k=K)).items]
    expected = [model.catalogue.id(number) for number in answer(history)]
    assert found == expected, f"{found} is not {expected}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        make_recommender(folder, items=arguments.items, width=arguments.width, max_length=50, step=False)
        model = load(folder, IDENTITY, RunSettings())
        session = open_session(folder / "model.onnx", "cpu", 1)
        numbers = {f"i{number}": number for number in range(1, arguments.items + 1)}
        table = np.load(folder / "item_vectors.npy")
        histories = [
            [f"i{number}" for number in generator.integers(1, arguments.items + 1, LENGTH)]
            for _ in range(arguments.rounds + 10)
        ]

        def alone(history: list[str]) -> list[int]:
            return raw(session, table, numbers, history)

        def engine(history: list[str]) -> object:
            return recommend(model, RecommendationRequest(history, k=K))

        check_equal(model, alone, histories[0])
        found = take_turns({"raw": alone, "engine": engine}, histories)
    result = {
        "items": arguments.items,
        "width": arguments.width,
        "rounds": arguments.rounds,
        "processor": platform.processor() or platform.machine(),
        **found,
        "wall_p50_ratio": found["engine"]["wall_p50_ms"] / found["raw"]["wall_p50_ms"],
        "cpu_ratio": found["engine"]["cpu_median_ms"] / found["raw"]["cpu_median_ms"],
        "limit": LIMIT,
    }
    print(json.dumps(result, indent=2))
    write_result(result, arguments.out)
    if result["wall_p50_ratio"] > LIMIT:
        raise SystemExit(f"p50 is {result['wall_p50_ratio']:.2f} times raw, the limit is {LIMIT}")


if __name__ == "__main__":
    main()
