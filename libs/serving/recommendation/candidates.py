"""Which items may be recommended, and the best of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.encoder import History
from libs.serving.recommendation.filters import Blocked
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.ranking import Floats, top_k
from libs.serving.recommendation.request import Filters, RecommendationRequest


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Items that are no candidates.

    Attributes:
        numbers: single items, few.
        blocked: by filters; None without filters, so that nothing of the size of the catalogue is made.
    """

    numbers: Sequence[int]
    blocked: Blocked | None

    def apply(self, scores: Floats) -> Floats:
        """The scores, [I + 1], written over: -inf where an item is no candidate."""
        if self.blocked is not None:
            np.putmask(scores, self.blocked.mask(), -np.inf)
        scores[0] = -np.inf
        scores[list(self.numbers)] = -np.inf
        return scores

    def allowed(self, numbers: Numbers) -> Numbers:
        """Those of `numbers` that are candidates."""
        kept = numbers[~np.isin(numbers, [0, *self.numbers])]
        return kept if self.blocked is None else kept[~self.blocked.mask()[kept]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Item numbers, best first, and their scores."""

    numbers: Numbers
    scores: Floats


def exclusions(model: LoadedRecommender, request: RecommendationRequest, history: History) -> Exclusions:
    """What a request rules out.

    Raises:
        RequestError: a filter is wrong.
    """
    exclude_seen = model.bundle.exclude_seen if request.exclude_seen is None else request.exclude_seen
    excluded = model.catalogue.known(request.exclude_items)
    return Exclusions([*excluded, *history] if exclude_seen else excluded, blocked_by(model, request.filters))


def blocked_by(model: LoadedRecommender, filters: Filters | None) -> Blocked | None:
    """What filters rule out; None without filters.

    Raises:
        RequestError: a filter is wrong.
    """
    return model.filters.blocked(filters) if filters is not None else None


def best(scores: Floats, excluded: Exclusions, k: int) -> Ranked:
    """The best candidates; `scores`, [I + 1], are written over."""
    numbers = top_k(excluded.apply(scores), k)
    return Ranked(numbers, scores[numbers])


def best_by_model(
    model: LoadedRecommender, features: Floats, wanted: Sequence[tuple[Exclusions, int]]
) -> Iterator[Ranked]:
    """The best candidates for each row of features [N, d]: what is excluded and how many are wanted, by row.

    By the index where the model has one and enough of what it finds are candidates, else by blocks of exact products.
    """
    if model.index is not None:
        for row, (excluded, k) in zip(features, wanted, strict=True):
            found = _by_index(model, row, excluded, k)
            yield found if found is not None else best(model.scores(row[None]), excluded, k)
        return
    if len(features) == 1:
        yield best(model.scores(features), *wanted[0])
        return
    rows = model.vectors.rows_at_once()
    for begin in range(0, len(features), rows):
        block = model.vectors.products(features[begin : begin + rows])
        for scores, (excluded, k) in zip(block, wanted[begin : begin + rows], strict=True):
            yield best(scores, excluded, k)


def _by_index(model: LoadedRecommender, features: Floats, excluded: Exclusions, k: int) -> Ranked | None:
    """The best of what the index finds, by exact scores; None when fewer than `k` of it are candidates."""
    assert model.index is not None
    numbers = excluded.allowed(model.index.search(features, k, len(excluded.numbers)))
    if len(numbers) < k:
        return None
    numbers = np.sort(numbers)
    scores: Floats = model.vectors.table[numbers] @ features
    places = top_k(scores, k)
    return Ranked(numbers[places], scores[places])
