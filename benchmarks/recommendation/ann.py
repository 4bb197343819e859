"""Recall and speed of the item index against exact products, what it costs to build, and what it holds in memory.

Vectors come from a file (`item_vectors.npy` of a bundle), or are generated: clusters whose sizes and vector lengths
differ as those of learned items do. Queries are noisy items, or rows of `--queries`. One thread; exact and index take
turns query by query. Both end with exact scores of the best k. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.ann --items 1000000 --width 64
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from libs.serving.recommendation.ann import ItemIndex
from libs.serving.recommendation.ranking import top_k

Floats = NDArray[np.float32]
PROBES = (4, 8, 16, 32, 64, 128)


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
        began = time.perf_counter()
        best = exact(table, query, k)
        between = time.perf_counter()
        found = by_index(index, table, query, k, probes)
        index_s.append(time.perf_counter() - between)
        exact_s.append(between - began)
        hits += len(np.intersect1d(best, found))
    exact_ms, index_ms = 1e3 * float(np.median(exact_s)), 1e3 * float(np.median(index_s))
    return {
        "probes": probes,
        "recall": hits / (k * len(queries)),
        "exact_ms": exact_ms,
        "index_ms": index_ms,
        "speed_up": exact_ms / index_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--vectors", type=Path, help="item_vectors.npy; instead of generated ones")
    parser.add_argument("--queries", type=Path, help="features float32 [Q, d] as .npy; instead of noisy items")
    parser.add_argument("--count", type=int, default=200, help="queries")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table = np.load(arguments.vectors) if arguments.vectors else generated(arguments.items, arguments.width)
    queries = (
        np.load(arguments.queries)[: arguments.count] if arguments.queries else noisy_items(table, arguments.count)
    )
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    index = ItemIndex.build(table)
    build_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as scratch:
        index.save(Path(scratch) / "index")
        file_bytes = (Path(scratch) / "index").stat().st_size
    result = {
        "items": len(table) - 1,
        "width": table.shape[1],
        "k": arguments.k,
        "vectors": "given" if arguments.vectors else "generated",
        "build_s": build_s,
        "file_bytes": file_bytes,
        "resident_after_build_bytes": psutil.Process().memory_info().rss - before,
        "curve": [point(index, table, queries, arguments.k, probes) for probes in PROBES],
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
