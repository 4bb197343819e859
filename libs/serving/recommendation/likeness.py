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
new items that can be asked about. Of 1 million items a number takes 8 MB, and a part or word that each has 4 MB.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import structlog
from numpy.typing import NDArray

from libs.data.manifest import ItemFeature
from libs.serving.recommendation.catalogue import Catalogue, Numbers
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.word_codes import Column, WordCodes, word_codes

log = structlog.get_logger("octavo.serving")

MOST_BYTES = 128 * 2**20
"""Of codes for one model; a feature that does not fit is left out: numbers come first, then categories, then texts.

While they are made about 160 MB more are needed at most, however many items there are (`word_codes`)."""
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
        left = most_bytes
        for feature in sorted(features, key=lambda one: _ORDER.index(one.type)):
            made = _made(feature, known[feature.name], self._candidates - 1, new[feature.name], left)
            if made is None:
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
    """A number, and the spread; both a quarter of what they are. NaN where there is none.

    Not in spreads and single precision: what lies far outside of the others would be all one, or alike.
    """

    name: str
    candidates: NDArray[np.float64]
    sources: NDArray[np.float64]
    spread: float

    @property
    def nbytes(self) -> int:
        """Memory of the codes."""
        return self.candidates.nbytes + self.sources.nbytes

    def has(self) -> NDArray[np.bool_]:
        """Which sources have a value, [S]."""
        return np.isfinite(self.sources)

    def likeness(self, source: int) -> Floats:
        """Of every candidate to a source that has a value, [C]."""
        difference = self.candidates - self.sources[source]
        np.abs(difference, out=difference)
        with np.errstate(over="ignore"):
            difference /= self.spread
        np.fmin(difference, 1, out=difference)  # of NaN and 1 it takes 1
        likeness: Floats = (1 - difference).astype(np.float32)
        return likeness


_Feature = _Numbers | WordCodes


def _made(
    feature: ItemFeature, known: pl.Series, candidates: Numbers, new: pl.Series, most_bytes: int
) -> _Feature | None:
    """A feature in codes; None: it takes too much memory.

    Args:
        candidates: rows of `known`.
    """
    if feature.type == "number":
        return _numbers(feature.name, known.to_numpy()[candidates], new.to_numpy(), most_bytes)
    every = np.arange(len(new))
    return word_codes(
        feature.name, Column(feature.type, known, candidates), Column(feature.type, new, every), most_bytes
    )


def _numbers(
    name: str, candidates: NDArray[np.float64], sources: NDArray[np.float64], most_bytes: int
) -> _Numbers | None:
    if candidates.nbytes + sources.nbytes > most_bytes:
        return None
    quarters = candidates / 4  # the difference of two is a number, however large they are
    finite = quarters[np.isfinite(quarters)]
    low, high = np.quantile(finite, (0.05, 0.95)) if len(finite) else (0.0, 0.0)
    spread = high - low or (np.ptp(finite) if len(finite) else 0.0)
    spread = spread or np.finfo(np.float64).tiny  # where all are equal, others are like none of them
    return _Numbers(name, quarters, sources / 4, float(spread))
