"""How like a new item the items are that a model has learnt about, by their features: for what no event tells of yet.

    likeness(a, b) = mean over the features f that a has a value of:   s_f(a, b)

    number     s = max(0, 1 - |a - b| / spread); spread: between the 5 % and 95 % quantiles of the items with events in
               training, so that one price of a million does not make all others alike; their range where that is 0
    category   s = weight of the parts that both have / weight of those that either has; parts stand between bars, as
               filters have them; weight = log(1 + C / (1 + n)), where n of the C items with events in training have it
    text       the same of words, in lower case

Gower's coefficient (1971), with Jaccard's for sets, in which what few items have says most, [ours]. Where b has no
value, s is 0. Read are the first 1,000 characters of a value and of these the first 32 different parts or words.

All is coded when a model is loaded, and only for what is needed: values of the items that can be answered, and of the
new items that can be asked about. Of 1 million items a number takes 4 MB, and so does a part or word that each has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import structlog
from numpy.typing import NDArray

from libs.data.manifest import ItemFeature
from libs.serving.recommendation.catalogue import Catalogue, Numbers
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.several import SEPARATOR, evenly_barred

log = structlog.get_logger("octavo.serving")

MOST_BYTES = 128 * 2**20
"""Of codes for one model; a feature that does not fit is left out: numbers come first, then categories, then texts."""
_MOST_CHARS = 1_000
_MOST_WORDS = 32
_ROWS_AT_A_TIME = 16_384
_ORDER = ("number", "category", "text")


def likeness_of(catalogue: Catalogue, features: list[ItemFeature], new: pl.DataFrame) -> "Likeness":
    """Of a model's items to those of them that had no events in training, and to `new` ones that it does not know."""
    if not features:
        return Likeness([], catalogue.features, catalogue.training_count, pl.DataFrame())
    places = np.flatnonzero(catalogue.training_count[1:] == 0)
    ids = pl.Series("id", [catalogue.id(place + 1) for place in places.tolist()], pl.String)
    unmet = catalogue.features[places].insert_column(0, ids)
    unknown = new.filter(pl.Series([not catalogue.known([one]) for one in new["id"]], dtype=pl.Boolean))
    return Likeness(features, catalogue.features, catalogue.training_count, pl.concat([unmet, unknown]))


class Likeness:
    """Of the items that can be answered to those that only their features tell of; may be used from any thread."""

    def __init__(
        self,
        features: list[ItemFeature],
        known: pl.DataFrame,
        training_count: Numbers,
        new: pl.DataFrame,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Code what is compared.

        Args:
            features: which columns are what.
            known: a column a feature, rows by item number, without padding.
            training_count: by item number, [I + 1]; items that have none are no candidates.
            new: `id` and a column a feature: the items that may be asked about.
        """
        self._items = len(training_count)
        self._candidates = np.flatnonzero(training_count > 0)
        self._features: list[_Feature] = []
        if not len(new):
            self._rows: dict[str, int] = {}
            return
        candidates = known[self._candidates - 1]
        left = most_bytes
        for feature in sorted(features, key=lambda one: _ORDER.index(one.type)):
            made = _made(feature, candidates[feature.name], new[feature.name], left)
            if made is None or made.nbytes > left:
                log.warning("a feature is too large to compare new items by", feature=feature.name)
                continue
            left -= made.nbytes
            self._features.append(made)
        told = np.zeros(len(new), np.bool_)
        for one in self._features:
            told |= one.has()
        self._rows = {new["id"][row]: row for row in np.flatnonzero(told).tolist()}
        self._has = [one.has() for one in self._features]

    @property
    def nbytes(self) -> int:
        """Memory of the codes."""
        return sum(one.nbytes for one in self._features)

    def newest(self, history: Iterable[str]) -> str | None:
        """The last of some ids that something can be told of by features alone."""
        return next((one for one in reversed(list(history)) if one in self._rows), None)

    def scores(self, item_id: str) -> Floats:
        """Likeness of every item to one that `newest` answers, by number, [I + 1]; -inf where no training event is."""
        scores = np.full(self._items, -np.inf, np.float32)
        total, count = np.zeros(len(self._candidates), np.float32), 0
        for _, likeness in self._each(item_id):
            total += likeness
            count += 1
        scores[self._candidates] = total / np.float32(count)
        return scores

    def by_feature(self, item_id: str, numbers: Numbers) -> list[dict[str, float]]:
        """Likeness of items with events in training to one that `newest` answers: by feature, where it is not 0."""
        found: list[dict[str, float]] = [{} for _ in numbers]
        places = np.searchsorted(self._candidates, numbers)
        for name, likeness in self._each(item_id):
            for one, value in zip(found, likeness[places].tolist(), strict=True):
                if value > 0:
                    one[name] = value
        return found

    def _each(self, item_id: str) -> Iterator[tuple[str, Floats]]:
        row = self._rows[item_id]
        for feature, has in zip(self._features, self._has, strict=True):
            if has[row]:
                yield feature.name, feature.likeness(row)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A number, in spreads."""

    name: str
    candidates: Floats
    sources: Floats

    @property
    def nbytes(self) -> int:
        return self.candidates.nbytes + self.sources.nbytes

    def has(self) -> NDArray[np.bool_]:
        """Which sources have a value, [S]."""
        return np.isfinite(self.sources)

    def likeness(self, source: int) -> Floats:
        """Of every candidate to a source that has a value, [C]."""
        likeness: Floats = np.float32(1) - np.abs(self.candidates - self.sources[source])
        np.fmax(likeness, np.float32(0), out=likeness)  # of NaN and 0 it takes 0
        return likeness


@dataclass(frozen=True, slots=True)
class _Words:
    """Parts or words: which each source has, and which candidates have each.

    Attributes:
        offsets, words: of source s the words `words[offsets[s] : offsets[s + 1]]`.
        starts, having: word w is of the candidates `having[starts[w] : starts[w + 1]]`.
        weights: of each word.
        sizes: weight of all words of each candidate, whether a source has them or not.
    """

    name: str
    offsets: Numbers
    words: NDArray[np.int32]
    starts: Numbers
    having: NDArray[np.int32]
    weights: Floats
    sizes: Floats

    @property
    def nbytes(self) -> int:
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


_Feature = _Numbers | _Words


def _made(feature: ItemFeature, candidates: pl.Series, sources: pl.Series, most_bytes: int) -> _Feature | None:
    """A feature in codes; None: it takes more than `most_bytes`, as far as that was made out."""
    if feature.type == "number":
        return _numbers(feature.name, candidates.to_numpy(), sources.to_numpy())
    known = _hashed(feature, candidates, most_bytes)
    new = _hashed(feature, sources, most_bytes)
    return None if known is None or new is None else _words(feature.name, known, new, len(candidates), len(sources))


def _numbers(name: str, candidates: NDArray[np.float64], sources: NDArray[np.float64]) -> _Numbers:
    quarters = candidates / 4  # the difference of two is a number, however large they are
    finite = quarters[np.isfinite(quarters)]
    low, high = np.quantile(finite, (0.05, 0.95)) if len(finite) else (0.0, 0.0)
    spread = high - low or (np.ptp(finite) if len(finite) else 0.0)
    spread = spread or np.finfo(np.float64).tiny  # where all are equal, others are like none of them

    def coded(values: NDArray[np.float64]) -> Floats:
        with np.errstate(over="ignore"):
            spreads = np.clip((values / 4 - (low + high) / 2) / spread, -1e6, 1e6)
        return np.where(np.isfinite(values), spreads, np.nan).astype(np.float32)

    return _Numbers(name, coded(candidates), coded(sources))


class _Hashes(NamedTuple):
    """Rows, rising, and their different words. Of 10 million words two have one hash once in 300,000 catalogues."""

    rows: NDArray[np.int32]
    hashes: NDArray[np.uint64]


def _words(name: str, known: _Hashes, new: _Hashes, candidates: int, sources: int) -> _Words:
    different, codes = np.unique(np.concatenate([known.hashes, new.hashes]), return_inverse=True)
    of_known, of_new = codes[: len(known.hashes)], codes[len(known.hashes) :]
    weights = np.log1p(candidates / (1 + np.bincount(of_known, minlength=len(different))))
    # In steps of 1/1024 sums are exact, in whatever order: equal sets are equally like.
    weights = (np.round(weights * 1024) / 1024).astype(np.float32)
    sizes = np.bincount(known.rows, weights[of_known], minlength=candidates).astype(np.float32)
    is_new = np.zeros(len(different), np.bool_)
    is_new[of_new] = True
    numbers = (np.cumsum(is_new) - 1).astype(np.int32)
    kept = is_new[of_known]
    word_of, having = numbers[of_known[kept]], known.rows[kept]
    order = np.argsort(word_of, kind="stable")
    starts = np.searchsorted(word_of[order], np.arange(is_new.sum() + 1))
    offsets = np.searchsorted(new.rows, np.arange(sources + 1))
    return _Words(name, offsets, numbers[of_new], starts, having[order], weights[is_new], sizes)


def _hashed(feature: ItemFeature, values: pl.Series, most_bytes: int) -> _Hashes | None:
    """The parts or words of all values; None: the rows alone take more than `most_bytes`."""
    value = pl.col("value").str.head(_MOST_CHARS)
    if feature.type == "category":
        words = evenly_barred(value).str.split(SEPARATOR)
    else:
        words = value.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    rows, hashes = [np.zeros(0, np.int32)], [np.zeros(0, np.uint64)]
    left = most_bytes
    for begin in range(0, len(values), _ROWS_AT_A_TIME):
        part = pl.DataFrame({"value": values[begin : begin + _ROWS_AT_A_TIME]}).with_row_index("row", offset=begin)
        listed = part.select("row", words.alias("word")).explode("word").filter(pl.col("word").str.len_bytes() > 0)
        each = listed.unique(maintain_order=True).filter(pl.int_range(pl.len()).over("row") < _MOST_WORDS)
        rows.append(each["row"].cast(pl.Int32).to_numpy())
        hashes.append(each["word"].hash().to_numpy())
        left -= rows[-1].nbytes
        if left < 0:
            return None
    return _Hashes(np.concatenate(rows), np.concatenate(hashes))
