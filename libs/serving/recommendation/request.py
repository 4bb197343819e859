"""What a recommender is asked and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from libs.serving.errors import InputProblem, RequestError

Explain = Literal["none", "basic", "full"]
Fallback = Literal["similar", "popular", "error"]
Strategy = Literal["model", "similar", "popular"]
ComparedBy = Literal["vectors", "features"]
Filters = Mapping[str, Mapping[str, Any]]

MOST_ITEMS = 200
MOST_EVENTS = 10_000
MOST_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class RecommendationRequest:
    """A history and what is wanted after it.

    Attributes:
        history: item ids, oldest first; unknown ones are counted and left out, and the model reads its newest
            `max_length`.
        k: how many items, 1 to 200; fewer are answered when fewer are left.
        exclude_seen: whether items of the whole history are no candidates; None: as the bundle says.
        exclude_items: further items that are no candidates; unknown ones exclude nothing.
        filters: on item features, see `libs.serving.recommendation.filters`.
        diversity: 0 ranks by score alone, 1 by unlikeness after the first item; see
            `libs.serving.recommendation.diversity`.
        explain: "basic" gives each item its reasons; "full" adds what the model itself can tell.
        user_id: whose history it is, where that is known; models that read users take it into account.
        fallback: what answers where the model cannot: when no item of the history had events in training. "similar":
            the items most like the newest of the history that is described by features, see
            `libs.serving.recommendation.likeness`; what is popular where none is, or nothing is like it.

    Raises:
        RequestError: a value is out of its range.
    """

    history: Sequence[str]
    k: int = 10
    exclude_seen: bool | None = None
    exclude_items: Sequence[str] = ()
    filters: Filters | None = None
    diversity: float = 0.0
    explain: Explain = "none"
    fallback: Fallback = "similar"
    user_id: str | None = None

    def __post_init__(self) -> None:
        check_k(self.k)
        check_count("/history", len(self.history), MOST_EVENTS)
        check_count("/exclude_items", len(self.exclude_items), MOST_CANDIDATES)
        if not 0.0 <= self.diversity <= 1.0:
            raise RequestError(InputProblem("/diversity", f"{self.diversity} is not between 0 and 1."))


@dataclass(frozen=True, slots=True)
class Reason:
    """An item of the history that speaks for a recommended one.

    Attributes:
        item_id: the item of the history.
        users_together: training users who had both; 0 where they were too few to be recorded.
        similarity: cosine of the two item vectors, -1 to 1; where features speak for it, their likeness, 0 to 1.
        features: likeness by feature, of an item that nothing else tells of; None: vectors and users speak for it.
    """

    item_id: str
    users_together: int
    similarity: float
    features: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One recommended item.

    Attributes:
        rank: from 1.
        score: comparable within one answer only; what it is depends on the strategy.
        reasons: strongest first; empty unless asked for.
    """

    id: str
    score: float
    rank: int
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the model itself tells about its reading of a history.

    Attributes:
        history: the item ids that it read, oldest first; n of them.
        tensors: by the names of the bundle's `explanations`, without the row dimension; [n, ...] where it is by event.
    """

    history: tuple[str, ...]
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Recommendations:
    """The answer to a request.

    Attributes:
        strategy: who answered: the model (scores are its own), "similar" (likeness by features, 0 to 1) or "popular"
            (events in training).
        items: best first.
        unknown_items: entries of the history that the model does not know.
        explanation: of `explain` "full", where the model answered and can explain.
    """

    strategy: Strategy
    items: tuple[RankedItem, ...]
    unknown_items: int = 0
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """Items like one.

    Attributes:
        items: best first; scores are cosines, -1 to 1, or likeness by features, above 0 to 1.
        by: what was compared.
    """

    items: tuple[RankedItem, ...]
    by: ComparedBy


def check_k(k: int) -> None:
    """Refuse a number of items that is not 1 to `MOST_ITEMS`.

    Raises:
        RequestError: it is not.
    """
    if not 1 <= k <= MOST_ITEMS:
        raise RequestError(InputProblem("/k", f"{k} items were asked for; ask for 1 to {MOST_ITEMS}."))


def check_count(pointer: str, count: int, most: int) -> None:
    """Refuse a list that is too long.

    Raises:
        RequestError: it is.
    """
    if count > most:
        raise RequestError(InputProblem(pointer, f"{count} entries; at most {most} are read."))
