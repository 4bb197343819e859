"""Measuring next-item models by their full ranking: every target of a split against every item, in blocks."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.events.store import EventStore, Longs
from libs.data.events.windows import SequenceBatch, Split, Windows, batches, read, windows_of
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.ends import EndReader
from libs.models.sequences.ranking import Popularity, by_group, figures_of, ranks_of, sampled_ranks, top_items
from libs.models.sequences.sampling import distinct_negatives, repeated_negatives, sampled_name
from libs.models.sequences.step import NextItemModel, ReadsEnds
from libs.training.precision import Precision

CUTOFFS = (5, 10, 20)
BUCKETS = {0: "popular", 1: "middle", 2: "tail"}
LISTED = 10
_MOST_SCORES = 1 << 25
"""Of one block, cases times items: 128 MB as float32."""
_CACHED_SCORES = 1 << 18
"""On a CPU a block of no more is made and read within the processor's cache, but for a product of fewer cases than
`_FEWEST_CASES`."""
_FEWEST_CASES = 64
_END_ROWS = 1024
_SORTED_TOGETHER = 50 * _END_ROWS
"""Windows, whatever the scorer is given at a time: cases must stand in one order, or a model and its baselines would be
compared on different ones."""
_SAMPLE_SEED = 0x5EED
"""One sample of candidates and of windows for every run, so that models and seeds are compared on the same ones."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranking of a split's cases, on the CPU.

    Attributes:
        ranks: of the held-out items, [N] float64.
        targets: the held-out items, [N].
        rows: their rows in the event store, [N].
        users: whose they are, [N].
        history_lengths: events of the user before them, [N].
        cold: whether the user has no training events, [N].
        recommended: the best ten items of each case, [N, 10]; 0 where there are fewer candidates.
        further: ranks among other candidates, by what the names of their figures end in: `_sampled100`.
        cases: of the split; more than N where only a part of it was measured.
    """

    ranks: Tensor
    targets: Tensor
    rows: Tensor
    users: Tensor
    history_lengths: Tensor
    cold: Tensor
    recommended: Tensor
    further: Mapping[str, Tensor] = field(default_factory=dict)
    cases: int = 0

    def figures(self, popularity: Popularity, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
        """All figures: of the ranking, by popularity of the held-out item, for users never trained on, of the lists."""
        figures = figures_of(self.ranks, cutoffs)
        for ending, ranks in self.further.items():
            figures |= {name + ending: value for name, value in figures_of(ranks, cutoffs).items()}
        figures |= by_group(self.ranks, popularity.buckets()[self.targets], BUCKETS)
        if self.cold.any() and not self.cold.all():
            figures |= by_group(self.ranks, self.cold.long(), {0: "known_users", 1: "cold_users"})
        return figures | popularity.of_lists(self.recommended)

    def known_figures(self, popularity: Popularity) -> dict[str, float]:
        """`figures` without those that no case tells anything of."""
        return {name: value for name, value in self.figures(popularity).items() if math.isfinite(value)}


def finite_figures(rankings: Mapping[str, Ranked | None], popularity: Popularity) -> dict[str, float]:
    """Figures of several rankings, `test/ndcg@10`, by what their names begin with; without what no case tells of."""
    return {
        f"{name}/{figure}": value
        for name, ranked in rankings.items()
        if ranked is not None
        for figure, value in ranked.known_figures(popularity).items()
    }


Score = Callable[[Longs, Longs], Tensor]
"""Scores [T, I + 1] of all items for the positions (rows [T], places [T]) of a batch, float32."""


class Scorer(Protocol):
    """What is measured: a model, or a rule.

    Attributes:
        rows: windows of one target each that it is best given at a time; None: as many as a training batch has.
    """

    @property
    def rows(self) -> int | None: ...

    def begin(self, batch: SequenceBatch) -> Score:
        """What scores the positions of a batch of windows."""


class ModelScorer:
    """A `NextItemModel` in evaluation mode; its weights must stay as they are.

    Args:
        hide_users: give it the unknown user throughout, as it is served to sessions and to people it never met.
    """

    def __init__(self, model: nn.Module, precision: Precision, device: str, *, hide_users: bool = False) -> None:
        self.model, self.precision, self.device, self.hide_users = model, precision, device, hide_users
        plain = precision.dtype is None and torch.device(device).type == "cpu"
        self._reads_ends = model if plain and isinstance(model, ReadsEnds) else None

    @property
    def rows(self) -> int | None:
        """Many where only the ends are read: a step of a recurrence is then one product of some size."""
        return None if self._reads_ends is None else _END_ROWS

    @cached_property
    def _ends(self) -> EndReader:
        assert self._reads_ends is not None
        return self._reads_ends.ends()

    def begin(self, batch: SequenceBatch) -> Score:
        """Products of features and item vectors."""
        items, lengths, users = (torch.from_numpy(part).to(self.device) for part in tensors_of(batch))
        users = torch.zeros_like(users) if self.hide_users else users
        encoder: NextItemModel = self.model  # type: ignore[assignment]
        table = encoder.item_vectors
        # a window's last row is always a target
        if self._reads_ends is not None and np.count_nonzero(batch.targets) == len(batch.targets):
            ends = self._ends(items, lengths, users)
            return lambda rows, places: ends[rows] @ table.T
        with self.precision.autocast():
            features = encoder.encode(items, lengths, users).features
        return lambda rows, places: (features[rows, places].to(table.dtype) @ table.T).float()


@dataclass(frozen=True)
class _Block:
    """Some cases with their scores.

    Attributes:
        users: [T]. rows: of the held-out events, [T].
        targets: [T]. scores: [T, I + 1], on the device.
        met: makes the items of the histories, [T, S], right-padded with 0.
    """

    users: Longs
    rows: Longs
    targets: Tensor
    scores: Tensor
    met: Callable[[], Tensor]

    @cached_property
    def seen(self) -> Tensor:
        """`met`, when somebody asks."""
        return self.met()


class RankingMeasurer:
    """Ranks all items for every target of a split, or of a part of it, where all would take more than `most_scores`.

    Attributes:
        windows: what is measured.
        cases: targets of the whole split.
    """

    def __init__(self, events: EventStore, split: Split, config: SequenceTrainingConfig, device: str) -> None:
        self.events, self.config, self.device = events, config, device
        windows = windows_of(events, split, config.max_length, single_targets=config.single_targets)
        self.cases = windows.num_targets
        self.windows = _part(windows, config.most_scores // (events.num_items + 1))

    @torch.inference_mode()
    def ranks(self, scorer: Scorer) -> Tensor:
        """Ranks of the held-out items alone, [N]: what training watches."""
        found = torch.empty(self.windows.num_targets, dtype=torch.float64)
        done = 0
        for block in self._blocks(scorer):
            ranks = self._full(block, exclude=self.config.exclude_seen)
            found[done : done + len(ranks)] = ranks
            done += len(ranks)
        return found

    @torch.inference_mode()
    def __call__(self, scorer: Scorer) -> Ranked:
        """Everything the config asks for."""
        generator = torch.Generator(self.device).manual_seed(_SAMPLE_SEED)
        parts = (self._ranked(block, generator) for block in self._blocks(scorer))
        return _joined(parts, self.windows.num_targets, self.cases)

    def _ranked(self, block: _Block, generator: torch.Generator) -> Ranked:
        config, first = self.config, np.asarray(self.events.offsets)[block.users]
        further = {}
        if config.also_seen:
            further[other_rule(config)] = self._full(block, exclude=not config.exclude_seen)
        if config.sampled_candidates is not None:
            ending = sampled_name(config.sampled_candidates, config.sampling)
            negatives = self._negatives(block, config.sampled_candidates, generator)
            further[ending] = sampled_ranks(block.scores, block.targets, negatives, ties=config.ties).cpu()
        return Ranked(
            ranks=self._full(block, exclude=config.exclude_seen),
            targets=block.targets.cpu(),
            rows=torch.from_numpy(block.rows),
            users=torch.from_numpy(block.users),
            history_lengths=torch.from_numpy(block.rows - first),
            cold=torch.from_numpy(np.asarray(self.events.ends)[block.users, 0] == first),
            recommended=top_items(block.scores, LISTED, block.seen if config.exclude_seen else None).cpu(),
            further=further,
        )

    def _full(self, block: _Block, *, exclude: bool) -> Tensor:
        seen = block.seen if exclude else None
        return ranks_of(block.scores, block.targets, excluded=seen, ties=self.config.ties).cpu()

    def _negatives(self, block: _Block, count: int, generator: torch.Generator) -> Tensor:
        """Sampled candidates, [T, count]."""
        if self.config.sampling == "reference":
            training = self._met(block.users, np.asarray(self.events.ends)[block.users, 0])
            return repeated_negatives(training, self.events.num_items, count, generator)
        everything = self._met(block.users, np.asarray(self.events.offsets)[block.users + 1])
        return distinct_negatives(everything, self.events.num_items, count, generator)

    def _blocks(self, scorer: Scorer) -> Iterator[_Block]:
        at_a_time = self.config.batch_size
        if scorer.rows is not None and len(self.windows) == self.windows.num_targets:
            at_a_time = max(at_a_time, scorer.rows)
        for windows in batches(self.windows, at_a_time, bucket=_SORTED_TOGETHER):
            batch = read(self.events, windows)
            score = scorer.begin(batch)
            rows, places = np.nonzero(batch.targets)
            users, events = windows.users[rows], windows.starts[rows] + places + 1
            bounds = np.asarray(self.events.offsets)
            longest = int((bounds[windows.users + 1] - bounds[windows.users]).max())
            size = max(1, _MOST_SCORES // max(self.events.num_items + 1, longest))
            if self.device == "cpu":
                size = min(size, max(_FEWEST_CASES, _CACHED_SCORES // (self.events.num_items + 1)))
            for some in (slice(begin, begin + size) for begin in range(0, len(rows), size)):
                targets = torch.from_numpy(batch.targets[rows[some], places[some]]).to(self.device)
                met = partial(self._met, users[some], events[some])
                yield _Block(users[some], events[some], targets, score(rows[some], places[some]), met)

    def _met(self, users: Longs, until: Longs) -> Tensor:
        """Items of each user up to a row, [T, most], right-padded with 0."""
        first = np.asarray(self.events.offsets)[users]
        where = first[:, None] + np.arange(max(1, int((until - first).max())))
        items = self.events.items[np.minimum(where, len(self.events.items) - 1)]
        return torch.from_numpy(np.where(where < until[:, None], items, 0).astype(np.int64)).to(self.device)


def other_rule(config: SequenceTrainingConfig) -> str:
    """What the names of figures under the other rule of `exclude_seen` end in."""
    return "_seen_included" if config.exclude_seen else "_seen_excluded"


def _part(windows: Windows, most_targets: int) -> Windows:
    """The windows, or so many drawn from them as hold about `most_targets` targets; the same ones every time."""
    if windows.num_targets <= most_targets:
        return windows
    order = np.random.default_rng(_SAMPLE_SEED).permutation(len(windows))
    targets = np.cumsum((windows.lengths - windows.first_targets)[order])
    count = max(1, int(np.searchsorted(targets, most_targets, side="right")))
    return windows.take(np.sort(order[:count]))


def _joined(parts: Iterable[Ranked], count: int, cases: int) -> Ranked:
    """Parts of `count` cases together as one.

    They are copied into place one by one: small results that stay where a block's large arrays came and went would
    keep that memory from being used again, and at a million items that took gigabytes.
    """
    names = ("ranks", "targets", "rows", "users", "history_lengths", "cold", "recommended")
    columns: dict[str, Tensor] = {}
    further: dict[str, Tensor] = {}
    done = 0
    for part in parts:
        size = len(part.ranks)
        here = slice(done, done + size)
        of_part = [(columns, name, getattr(part, name)) for name in names]
        of_part += [(further, ending, ranks) for ending, ranks in part.further.items()]
        for place, name, values in of_part:
            if name not in place:
                place[name] = values.new_empty((count, *values.shape[1:]))
            place[name][here] = values
        done += size
    return Ranked(**columns, further=further, cases=cases)


def tensors_of(batch: SequenceBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, lengths, and users as models take them: counted from 1, 0 is the unknown user."""
    return batch.inputs, batch.lengths, batch.users + 1
