"""Recall and speed of the item index against exact products, what it costs to build, and what it holds in memory.

Vectors come from a file (`item_vectors.npy` of a bundle), or are a learned table widened to `--items` by resampling its
rows and adding noise of a share of its covariance, or are generated: clusters whose sizes and vector lengths differ as
those of learned items do. Queries are noisy items, or rows of `--queries`: what the bundle's encoder makes of histories
(`--encoder`, histories of neighbouring items, which the widened table keeps in the span it was learned in). One thread;
exact and index take turns query by query, in CPU time: a busy machine favours the shorter in wall time. Both end with
exact scores of the best k. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.ann --items 1000000 --width 64
    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.ann --items 1000000 --table BUNDLE/item_vectors.npy \\
        --encoder BUNDLE --out benchmarks/results/ann_1m.json
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.result_file import write_result
from libs.serving.folder import read_next_item_bundle
from libs.serving.recommendation.ann import ItemIndex
from libs.serving.recommendation.ranking import top_k
from libs.serving.session import open_session

Floats = NDArray[np.float32]
PROBES = (4, 8, 16, 32, 64, 128)
GOAL_SPEED_UP, GOAL_RECALL = 8.0, 0.95
_ROWS_AT_A_TIME = 1 << 17


def generated(items: int, width: int) -> Floats:
    """Clusters of uneven size, [I + 1, d], row 0 zeros; lengths are log-normal."""
    generator = np.random.default_rng(0)
    clusters = max(10, items // 200)
    share = generator.dirichlet(np.full(clusters, 0.5))
    centres = generator.standard_normal((clusters, width), np.float32)
    table = centres[generator.choice(clusters, items + 1, p=share)]
    table += 0.7 * generator.standard_normal(table.shape, np.float32)
    table *= generator.lognormal(0, 0.3, (items + 1, 1)).astype(np.float32)
    table[0] = 0
    return table


def widened(learned: Floats, items: int, noise: float) -> Floats:
    """Rows of a learned table, drawn with repetition, plus normal noise of `noise` times its covariance; [I + 1, d]."""
    generator = np.random.default_rng(0)
    rows = learned[1:]
    factor = np.linalg.cholesky(noise * np.cov(rows, rowvar=False) + 1e-9 * np.eye(rows.shape[1])).astype(np.float32)
    table = np.empty((items + 1, rows.shape[1]), np.float32)
    for begin in range(0, items + 1, _ROWS_AT_A_TIME):
        part = table[begin : begin + _ROWS_AT_A_TIME]
        part[:] = rows[generator.integers(0, len(rows), len(part))]
        part += generator.standard_normal(part.shape, np.float32) @ factor.T
    table[0] = 0
    return table


def encoded(bundle: Path, count: int, length: int = 20) -> Floats:
    """What a bundle's encoder makes of histories: walks from an item to one of those that users had beside it."""
    generator = np.random.default_rng(2)
    described = read_next_item_bundle(bundle)
    with np.load(bundle / "neighbours.npz") as near:
        beside = near["items"]
    histories = np.empty((count, length), np.int64)
    histories[:, 0] = generator.integers(1, len(beside), count)
    for place in range(1, length):
        nearest = beside[histories[:, place - 1], generator.integers(0, 10, count)]
        anywhere = generator.integers(1, len(beside), count)
        histories[:, place] = np.where(nearest > 0, nearest, anywhere)
    newest = histories[:, -described.max_length :]
    inputs = {"items": newest, "lengths": np.full(count, newest.shape[1], np.int64)}
    features: Floats = open_session(bundle / "model.onnx", "cpu", 1).run(["features"], inputs)[0]
    return features


def noisy_items(table: Floats, count: int) -> Floats:
    generator = np.random.default_rng(1)
    chosen = table[generator.integers(1, len(table), count)]
    return chosen + np.float32(0.3 * chosen.std()) * generator.standard_normal(chosen.shape, np.float32)


def exact(table: Floats, query: Floats, k: int) -> NDArray[np.int64]:
    scores = table @ query
    scores[0] = -np.inf
    return top_k(scores, k)


def by_index(index: ItemIndex, table: Floats, query: Floats, k: int, probes: int) -> NDArray[np.int64]:
    numbers = np.sort(index.search(query, k, probes=probes))
    return numbers[top_k(table[numbers] @ query, k)]


def point(index: ItemIndex, table: Floats, queries: Floats, k: int, probes: int) -> dict[str, float]:
    """One point of the curve."""
    exact_s: list[float] = []
    index_s: list[float] = []
    hits = 0
    for query in queries:
        began = time.thread_time()
        best = exact(table, query, k)
        between = time.thread_time()
        found = by_index(index, table, query, k, probes)
        index_s.append(time.thread_time() - between)
        exact_s.append(between - began)
        hits += len(np.intersect1d(best, found))
    exact_ms, index_ms = (1e3 * float(np.median(seconds)) for seconds in (exact_s, index_s))
    return {
        "probes": probes,
        "recall": hits / (k * len(queries)),
        "exact_cpu_ms": exact_ms,
        "index_cpu_ms": index_ms,
        "speed_up": exact_ms / index_ms,
    }


def vectors_of(arguments: argparse.Namespace) -> Floats:
    """[I + 1, d], as asked for."""
    if arguments.vectors:
        given: Floats = np.load(arguments.vectors)
        return given
    if arguments.table:
        return widened(np.load(arguments.table), arguments.items, arguments.noise)
    return generated(arguments.items, arguments.width)


def queries_of(arguments: argparse.Namespace, table: Floats) -> Floats:
    """[Q, d], as asked for."""
    if arguments.encoder:
        return encoded(arguments.encoder, arguments.count)
    if arguments.queries:
        given: Floats = np.load(arguments.queries)[: arguments.count]
        return given
    return noisy_items(table, arguments.count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--vectors", type=Path, help="item_vectors.npy; instead of generated ones")
    parser.add_argument("--table", type=Path, help="item_vectors.npy of a learned model, widened to --items")
    parser.add_argument("--noise", type=float, default=0.25, help="of --table: share of its covariance that is added")
    parser.add_argument("--encoder", type=Path, help="folder of a bundle whose encoder makes the queries")
    parser.add_argument("--queries", type=Path, help="features float32 [Q, d] as .npy; instead of noisy items")
    parser.add_argument("--count", type=int, default=200, help="queries")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table = vectors_of(arguments)
    queries = queries_of(arguments, table)
    before = psutil.Process().memory_info().rss
    began = time.process_time()
    index = ItemIndex.build(table)
    build_s = time.process_time() - began
    with tempfile.TemporaryDirectory() as scratch:
        index.save(Path(scratch) / "index")
        file_bytes = (Path(scratch) / "index").stat().st_size
    result = {
        "items": len(table) - 1,
        "width": table.shape[1],
        "k": arguments.k,
        "vectors": "given" if arguments.vectors else "widened" if arguments.table else "generated",
        "queries": "encoder" if arguments.encoder else "given" if arguments.queries else "noisy items",
        "build_cpu_s": build_s,
        "file_bytes": file_bytes,
        "resident_after_build_bytes": psutil.Process().memory_info().rss - before,
        "curve": [point(index, table, queries, arguments.k, probes) for probes in PROBES],
    }
    print(json.dumps(result, indent=2))
    enough = [one["speed_up"] for one in result["curve"] if one["recall"] >= GOAL_RECALL]
    best = max(enough, default=0.0)
    met = "met" if best >= GOAL_SPEED_UP else "MISSED"
    print(f"{best:.1f} x at recall >= {GOAL_RECALL}, goal {GOAL_SPEED_UP}: {met}")
    write_result(result, arguments.out)


if __name__ == "__main__":
    main()
