"""What the fallback `similar` is worth and costs: answers for items of which no event tells, by their features.

Worth: each item in turn as if it were new. Its answer, once by likeness and once by what is popular, is held against
what users met right after it (up to `--cases` times an item, drawn by `--seed`); the item itself is no candidate.
Figures are means over items. No model takes part. `--data` is a folder with MovieLens as RecBole keeps it (`*.inter`,
`*.item`: genres, title and year) or Amazon Beauty as S3-Rec keeps it (`*.txt`, `*_item2attributes.json`: one
feature of several attributes).

Cost: `--items N` made-up items of a price, two of 30 genres and a title of six words, a fiftieth without events;
CPU time of coding them and of an answer, and the memory of the codes. One thread.

    POLARS_MAX_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks.recommendation.new_items --data ml-100k --data beauty
    POLARS_MAX_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks.recommendation.new_items --items 100000 --items 1000000
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.result_file import write_result
from libs.data.manifest import ItemFeature
from libs.serving.recommendation.likeness import Likeness
from libs.serving.recommendation.ranking import top_k

K = 10
Kinds = dict[str, Literal["number", "category", "text"]]


@dataclass(frozen=True)
class Known:
    """Items, most events first.

    Attributes:
        items: `id`, `count` and their features.
        kinds: of the features.
        pairs: numbers of an item and of the one that its user met next, [N, 2].
    """

    items: pl.DataFrame
    kinds: Kinds
    pairs: NDArray[np.int64]

    def likeness(self, new: pl.DataFrame) -> Likeness:
        """Of these items to `new` ones."""
        features = [ItemFeature(name=name, type=kind) for name, kind in self.kinds.items()]
        counts = np.concatenate([[0], self.items["count"].to_numpy()])
        return Likeness(features, self.items.select(list(self.kinds)), counts, new.select("id", *self.kinds))


def movielens(folder: Path) -> Known:
    """RecBole's atomic files."""
    (inter,), (item,) = folder.glob("*.inter"), folder.glob("*.item")
    names = ["user", "item", "rating", "time"]
    events = pl.read_csv(inter, separator="\t", new_columns=names).sort("user", "time", maintain_order=True)
    films = pl.read_csv(item, separator="\t", infer_schema=False, quote_char=None)
    films.columns = ["item", "title", "year", "genres"]
    films = films.with_columns(
        pl.col("year").cast(pl.Float64, strict=False), pl.col("genres").str.replace_all(" ", "|")
    )
    kinds: Kinds = {"title": "text", "year": "number", "genres": "category"}
    return _known([part["item"].cast(pl.String).to_list() for part in events.partition_by("user")], films, kinds)


def beauty(folder: Path) -> Known:
    """S3-Rec's files: a user and their items a line; attributes by item."""
    (lines,), (attributes,) = folder.glob("*.txt"), folder.glob("*_item2attributes.json")
    has: dict[str, list[int]] = json.loads(attributes.read_text())
    table = {"item": list(has), "attributes": ["|".join(map(str, one)) for one in has.values()]}
    sequences = [line.split()[1:] for line in lines.read_text().splitlines()]
    return _known(sequences, pl.DataFrame(table), {"attributes": "category"})


def _known(sequences: Sequence[Sequence[str]], described: pl.DataFrame, kinds: Kinds) -> Known:
    met = pl.Series("item", [item for sequence in sequences for item in sequence]).value_counts(name="count")
    items = met.join(described, on="item").sort(["count", "item"], descending=[True, False]).rename({"item": "id"})
    numbers = {item: number for number, item in enumerate(items["id"], 1)}
    known = [[numbers[item] for item in sequence if item in numbers] for sequence in sequences]
    pairs = [pair for sequence in known for pair in pairwise(sequence)]
    return Known(items, kinds, np.array(pairs, np.int64))


def worth(known: Known, cases: int, seed: int) -> dict[str, Any]:
    """HR@10 and NDCG@10 of both, and by how much likeness is ahead, with 95 % intervals over items."""
    pairs = np.random.default_rng(seed).permutation(known.pairs)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    begins = np.flatnonzero(np.diff(pairs[:, 0], prepend=0))
    likeness = known.likeness(known.items)
    popular = np.concatenate([[-np.inf], known.items["count"].to_numpy()]).astype(np.float32)
    rows = []
    for begin, end in zip(begins, [*begins[1:], len(pairs)], strict=True):
        number = int(pairs[begin, 0])
        following = pairs[begin : min(end, begin + cases), 1]
        item_id = known.items["id"][number - 1]
        told = likeness.newest([item_id]) is not None
        rows.append(
            [
                *_hits(likeness.scores(item_id) if told else popular.copy(), number, following),
                *_hits(popular.copy(), number, following),
            ]
        )
    found = np.array(rows)
    ahead = found[:, 1] - found[:, 3]
    return {
        "items": len(found),
        "cases": int(np.minimum(np.diff([*begins, len(pairs)]), cases).sum()),
        "seed": seed,
        **dict(zip(("similar/hr", "similar/ndcg", "popular/hr", "popular/ndcg"), found.mean(0).tolist(), strict=True)),
        "ndcg ahead": float(ahead.mean()),
        "ndcg ahead, 95 %": float(1.96 * ahead.std() / np.sqrt(len(ahead))),
    }


def _hits(scores: NDArray[np.float32], itself: int, following: NDArray[np.int64]) -> tuple[float, float]:
    scores[itself] = -np.inf
    places = {number: place for place, number in enumerate(top_k(scores, K).tolist())}
    gains = [1 / np.log2(2 + places[one]) if one in places else 0.0 for one in following.tolist()]
    return float(np.mean([gain > 0 for gain in gains])), float(np.mean(gains))


def cost(items: int, answers: int = 100) -> dict[str, Any]:
    """CPU time and memory of made-up items."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, 20_001)
    words = random.choice(20_000, (items, 6), p=share / share.sum())
    count = np.maximum(np.sort(random.zipf(1.5, items))[::-1], 1)
    count[-items // 50 :] = 0
    frame = pl.DataFrame(
        {
            "id": [f"i{number}" for number in range(items)],
            "count": count,
            "title": [" ".join(f"w{word}" for word in row) for row in words.tolist()],
            "genres": [f"g{one}|g{other}" for one, other in random.integers(0, 30, (items, 2)).tolist()],
            "price": random.lognormal(size=items),
        }
    )
    kinds: Kinds = {"title": "text", "genres": "category", "price": "number"}
    new = frame.filter(pl.col("count") == 0)
    began = time.process_time()
    likeness = Known(frame, kinds, np.zeros((0, 2), np.int64)).likeness(new)
    coding = time.process_time() - began
    took = []
    for item_id in new["id"].head(answers):
        began = time.process_time()
        top_k(likeness.scores(item_id), K)
        took.append(1000 * (time.process_time() - began))
    return {
        "items": items,
        "new": len(new),
        "coding, CPU s": coding,
        "answer, CPU ms": float(np.median(took)),
        "slowest": max(took),
        "codes, MiB": likeness.nbytes / 2**20,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--items", type=int, action="append", default=[])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for folder in options.data:
        read = movielens if list(folder.glob("*.inter")) else beauty
        result[folder.name] = worth(read(folder), options.cases, options.seed)
    for items in options.items:
        result[str(items)] = cost(items)
    print(json.dumps(result, indent=2))
    write_result(result, options.out)


if __name__ == "__main__":
    main()
