"""The words of a feature in codes: which of them a new item has, and which items have these.

All words of a catalogue never are in memory together. It is read a block at a time, and twice: to count how many items
have each word, and then, as what is kept is known to fit, for the items of those words alone that a new item has. What
that takes beside the result grows with the different words, 25 bytes each, and not with the items.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.several import SEPARATOR, evenly_barred

MOST_DIFFERENT = 2**22
"""Words of a feature; one that has more is not coded."""
_MOST_CHARS = 1_000
_MOST_WORDS = 32
_ROWS_AT_A_TIME = 8_192

Codes = NDArray[np.int32]
_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Column:
    """Some rows of a feature of words.

    Attributes:
        type: of a category the parts between bars are its words, of a text those of letters and digits, in lower case.
        rows: of `values`, in order.
    """

    type: Literal["category", "text"]
    values: pl.Series
    rows: Numbers

    def blocks(self) -> Iterator[tuple[Numbers, _Hashes]]:
        """A block at a time places among `rows`, rising, and the hashes of their different words.

        Of 10 million words two have one hash once in 300,000 catalogues.
        """
        words = _words_of(self.type, pl.col("value").str.head(_MOST_CHARS))
        first = words.list.unique(maintain_order=True).list.head(_MOST_WORDS).alias("word")
        for begin in range(0, len(self.rows), _ROWS_AT_A_TIME):
            values = self.values.gather(self.rows[begin : begin + _ROWS_AT_A_TIME])
            listed = pl.DataFrame({"value": values}).with_row_index("row", offset=begin).select("row", first)
            each = listed.explode("word").drop_nulls("word")
            yield each["row"].cast(pl.Int64).to_numpy(), each["word"].hash().to_numpy()


@dataclass(frozen=True, slots=True)
class WordCodes:
    """Which words each source has, and which candidates have each word of a source.

    Attributes:
        offsets, words: of source s the words `words[offsets[s] : offsets[s + 1]]`.
        starts, having: word w is of the candidates `having[starts[w] : starts[w + 1]]`.
        weights: of each word.
        sizes: weight of all words of each candidate, whether a source has them or not.
    """

    name: str
    offsets: Numbers
    words: Codes
    starts: Numbers
    having: Codes
    weights: Floats
    sizes: Floats

    @property
    def nbytes(self) -> int:
        """Memory of the codes."""
        arrays = (self.offsets, self.words, self.starts, self.having, self.weights, self.sizes)
        return sum(one.nbytes for one in arrays)

    def has(self) -> NDArray[np.bool_]:
        """Which sources have a value, [S]."""
        return np.diff(self.offsets) > 0

    def likeness(self, source: int) -> Floats:
        """Of every candidate to a source that has a value, [C]."""
        words = self.words[self.offsets[source] : self.offsets[source + 1]]
        shared = np.zeros(len(self.sizes), np.float32)
        for word in words.tolist():
            shared[self.having[self.starts[word] : self.starts[word + 1]]] += self.weights[word]
        either = self.sizes + self.weights[words].sum() - shared
        shared /= either
        return shared


def word_codes(name: str, candidates: Column, sources: Column, most_bytes: int) -> WordCodes | None:
    """Code a feature of words; None: it would take more than `most_bytes`, or has more than `MOST_DIFFERENT` words."""
    asked, known = _vocabulary(sources), _vocabulary(candidates)
    if asked is None or known is None:
        return None
    counts = known.counts_of(asked.hashes)
    starts = np.concatenate([[0], np.cumsum(counts)])
    numbers = 4 * int(asked.counts.sum() + starts[-1] + len(counts) + len(candidates.rows))
    if numbers + 8 * (len(starts) + len(sources.rows) + 1) > most_bytes:
        return None
    offsets, words = _words_by_source(sources, asked)
    having, sizes = _candidates_by_word(candidates, known, asked, starts)
    return WordCodes(name, offsets, words, starts, having, _weights(counts, len(candidates.rows)), sizes)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """Different words and how many rows have each.

    Attributes:
        hashes: rising, [V].
        counts: [V].
    """

    hashes: _Hashes
    counts: Codes

    def numbers_of(self, hashes: _Hashes) -> Codes:
        """Places of words among these; -1 where they are none of them."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int32)
        places = np.searchsorted(self.hashes, hashes).astype(np.int32)
        np.minimum(places, len(self.hashes) - 1, out=places)
        places[self.hashes[places] != hashes] = -1
        return places

    def counts_of(self, hashes: _Hashes) -> Codes:
        """How many rows have each of some words."""
        return np.append(self.counts, np.int32(0))[self.numbers_of(hashes)]

    def with_block(self, hashes: _Hashes) -> "_Vocabulary":
        """These and a block's words; the counts of these are changed in place."""
        different, counts = np.unique(hashes, return_counts=True)
        numbers = self.numbers_of(different)
        met = numbers >= 0
        self.counts[numbers[met]] += counts[met].astype(np.int32)
        places = np.searchsorted(self.hashes, different[~met])
        return _Vocabulary(
            np.insert(self.hashes, places, different[~met]),
            np.insert(self.counts, places, counts[~met].astype(np.int32)),
        )


def _vocabulary(column: Column) -> _Vocabulary | None:
    """All words of a column; None: more than `MOST_DIFFERENT`."""
    found = _Vocabulary(np.zeros(0, np.uint64), np.zeros(0, np.int32))
    for _, hashes in column.blocks():
        found = found.with_block(hashes)
        if len(found.hashes) > MOST_DIFFERENT:
            return None
    return found


def _weights(counts: Codes, candidates: int) -> Floats:
    """In steps of 1/1024 sums are exact, in whatever order: equal sets are equally like."""
    weights: Floats = (np.round(np.log1p(candidates / (1 + counts)) * 1024) / 1024).astype(np.float32)
    return weights


def _words_by_source(sources: Column, asked: _Vocabulary) -> tuple[Numbers, Codes]:
    """`offsets` and `words` of the codes."""
    offsets = np.zeros(len(sources.rows) + 1, np.int64)
    words = np.empty(int(asked.counts.sum()), np.int32)
    filled = 0
    for rows, hashes in sources.blocks():
        offsets[1:] += np.bincount(rows, minlength=len(sources.rows))
        words[filled : filled + len(hashes)] = asked.numbers_of(hashes)
        filled += len(hashes)
    return np.cumsum(offsets), words


def _candidates_by_word(
    candidates: Column, known: _Vocabulary, asked: _Vocabulary, starts: Numbers
) -> tuple[Codes, Floats]:
    """`having` and `sizes` of the codes."""
    weights = _weights(known.counts, len(candidates.rows))
    wanted = asked.numbers_of(known.hashes)
    having = np.empty(int(starts[-1]), np.int32)
    sizes = np.zeros(len(candidates.rows), np.float32)
    free = starts[:-1].copy()
    for rows, hashes in candidates.blocks():
        if not len(rows):
            continue
        numbers = known.numbers_of(hashes)
        first = int(rows[0])
        of_block = np.bincount(rows - first, weights[numbers])
        sizes[first : first + len(of_block)] = of_block
        words = wanted[numbers]
        kept = words >= 0
        words, rows = words[kept], rows[kept]
        order = np.argsort(words, kind="stable")
        words, rows = words[order], rows[order]
        different, begins, counts = np.unique(words, return_index=True, return_counts=True)
        having[np.repeat(free[different] - begins, counts) + np.arange(len(words))] = rows
        free[different] += counts
    return having, sizes


def _words_of(type_: Literal["category", "text"], value: pl.Expr) -> pl.Expr:
    """Words of texts in order, some more than once, none empty."""
    if type_ == "text":
        return value.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    return evenly_barred(value).str.split(SEPARATOR).list.eval(pl.element().filter(pl.element() != ""))
