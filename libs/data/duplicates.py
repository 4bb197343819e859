"""Pictures that are there more than once: equal ones by digest, similar ones across splits by fingerprint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BANDS = 4  # of 16 bits: two fingerprints that differ in at most 3 bits agree in one band
_LARGEST_DISTANCE = 3
_NEIGHBOURS = 32  # how far pictures with one band in common are compared, in sorted order
_MOST_CANDIDATES = 5_000


@dataclass(frozen=True, slots=True)
class SimilarPairs:
    """Pairs of different pictures that look the same and lie in different splits.

    Attributes:
        pairs: positions, the smaller first.
        complete: no bound on the work was hit.
    """

    pairs: list[tuple[int, int]]
    complete: bool


def equal_groups(digests: Iterable[str]) -> list[list[int]]:
    """Positions of pictures with one digest, for every digest that comes more than once."""
    first: dict[str, int] = {}
    groups: dict[int, list[int]] = {}
    for position, digest in enumerate(digests):
        seen = first.setdefault(digest, position)
        if seen != position:
            groups.setdefault(seen, [seen]).append(position)
    return list(groups.values())


def similar_across_splits(
    fingerprints: NDArray[np.uint64],
    splits: NDArray[np.int8],
    digests: Sequence[str],
    same: Callable[[int, int], bool],
) -> SimilarPairs:
    """Find similar pictures in different splits at a cost that grows with N log N.

    Args:
        fingerprints: `difference_hash` of each picture, uint64 [N].
        splits: int8 [N].
        digests: of each picture; equal ones are not reported again.
        same: looks at both pictures and decides.
    """
    found: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    complete = True
    for left, right, cut in _candidates(fingerprints, splits):
        complete = complete and not cut
        for pair in zip(np.minimum(left, right).tolist(), np.maximum(left, right).tolist(), strict=True):
            if pair in seen or digests[pair[0]] == digests[pair[1]]:
                continue
            if len(seen) == _MOST_CANDIDATES:
                return SimilarPairs(sorted(found), complete=False)
            seen.add(pair)
            if same(*pair):
                found.append(pair)
    return SimilarPairs(sorted(found), complete)


def _candidates(
    fingerprints: NDArray[np.uint64], splits: NDArray[np.int8]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], bool]]:
    """Positions of close fingerprints in different splits; the flag says that a crowd was not searched through."""
    for band in range(_BANDS):
        keys = (fingerprints >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.lexsort((fingerprints, keys))
        for step in range(1, _NEIGHBOURS + 1):
            first, second = order[:-step], order[step:]
            together = keys[first] == keys[second]
            if not together.any():
                break
            first, second = first[together], second[together]
            distance = np.bitwise_count(fingerprints[first] ^ fingerprints[second])
            close = (distance <= _LARGEST_DISTANCE) & (splits[first] != splits[second])
            yield first[close], second[close], step == _NEIGHBOURS
