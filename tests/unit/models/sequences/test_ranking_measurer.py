"""Every figure of a measurement against a loop over users and items."""

import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from libs.data.events.figures import gini
from libs.data.events.splits import by_user, leave_last_out
from libs.data.events.store import EventStore
from libs.data.events.windows import SequenceBatch
from libs.models.sequences import evaluation
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked, RankingMeasurer, Score
from libs.models.sequences.ranking import Popularity

ITEMS = 13


class Fixed:
    """Scores that depend on the last item alone, with ties."""

    rows = None

    table = torch.randint(0, 5, (ITEMS + 1, ITEMS + 1), generator=torch.Generator().manual_seed(4)).float()

    def begin(self, batch: SequenceBatch) -> Score:
        return lambda rows, places: self.table[torch.from_numpy(batch.inputs[rows, places])]


def some_events(seed: int, protocol: str) -> EventStore:
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(random.integers(1, 10, 10))]).astype(np.int64)
    ends = leave_last_out(offsets) if protocol == "last" else by_user(offsets, (0.3, 0.3), seed)
    items = random.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), ends, ITEMS)


def config(**changes: Any) -> SequenceTrainingConfig:
    return SequenceTrainingConfig.model_validate({"max_length": 4, "batch_size": 3, **changes})


def cases_of(events: EventStore) -> list[tuple[int, int]]:
    """(user, row) of every target of the test split."""
    return [
        (user, row)
        for user in range(events.num_users)
        for row in range(max(events.ends[user, 1], events.offsets[user] + 1), events.offsets[user + 1])
    ]


def naive_rank(events: EventStore, user: int, row: int, *, exclude: bool, ties: float) -> float:
    history, target = events.items[events.offsets[user] : row].tolist(), int(events.items[row])
    scores = Fixed.table[history[-1]]
    others = [i for i in range(1, ITEMS + 1) if i != target and not (exclude and i in history)]
    better = sum(bool(scores[i] > scores[target]) for i in others)
    return 1 + better + ties * sum(bool(scores[i] == scores[target]) for i in others)


@settings(max_examples=30)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["last", "users"]),
    st.booleans(),
    st.sampled_from([("mid", 0.5), ("optimistic", 0.0), ("pessimistic", 1.0)]),
    st.integers(1, 200),
)
def test_ranks_and_figures_are_those_of_a_loop(
    seed: int, protocol: str, exclude: bool, ties: tuple[str, float], most_scores: int
) -> None:
    events = some_events(seed, protocol)
    asked = config(exclude_seen=exclude, also_seen=True, ties=ties[0])
    cases = cases_of(events)
    if not cases:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_MOST_SCORES", most_scores)
        measurer = RankingMeasurer(events, "test", asked, "cpu")
        ranked = measurer(Fixed())
        assert torch.equal(ranked.ranks, measurer.ranks(Fixed()))
    order = torch.argsort(ranked.rows).tolist()
    assert [int(ranked.rows[k]) for k in order] == [row for _, row in cases]
    other = "_seen_included" if exclude else "_seen_excluded"
    for place, (user, row) in zip(order, cases, strict=True):
        assert ranked.targets[place] == events.items[row]
        assert ranked.users[place] == user
        assert ranked.history_lengths[place] == row - events.offsets[user]
        assert bool(ranked.cold[place]) == (protocol == "users")
        assert ranked.ranks[place] == naive_rank(events, user, row, exclude=exclude, ties=ties[1])
        assert ranked.further[other][place] == naive_rank(events, user, row, exclude=not exclude, ties=ties[1])
    check_figures(ranked, events, other)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(["last", "users"]), st.integers(1, 20))
def test_a_split_that_takes_too_many_scores_is_measured_in_part(seed: int, protocol: str, most_cases: int) -> None:
    events = some_events(seed, protocol)
    whole = RankingMeasurer(events, "test", config(), "cpu")
    part = RankingMeasurer(events, "test", config(most_scores=most_cases * (ITEMS + 1)), "cpu")
    again = RankingMeasurer(events, "test", config(most_scores=most_cases * (ITEMS + 1)), "cpu")
    if not whole.cases:
        return
    every, some = whole(Fixed()), part(Fixed())
    assert every.cases == some.cases == len(every.ranks) == whole.cases
    assert len(some.ranks) <= most_cases or len(part.windows) == 1
    assert len(some.ranks) == len(every.ranks) or len(some.ranks) + longest(whole) > most_cases
    known = dict(zip(every.rows.tolist(), every.ranks.tolist(), strict=True))
    assert [known[row] for row in some.rows.tolist()] == some.ranks.tolist()
    assert torch.equal(again.ranks(Fixed()), some.ranks)


def longest(measurer: RankingMeasurer) -> int:
    """Targets of the window that has most."""
    return int((measurer.windows.lengths - measurer.windows.first_targets).max())


def test_blocks_keep_their_bound_on_long_histories() -> None:
    """The last windows of a long history begin late, but what the user met begins with the first event."""
    offsets = np.array([0, 5, 65], np.int64)
    ends = np.array([[5, 5], [5, 5]])
    items = np.random.default_rng(0).integers(1, ITEMS + 1, 65).astype(np.int32)
    events = EventStore(offsets, items, np.arange(65, dtype=np.int64), ends, ITEMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_MOST_SCORES", 120)
        blocks = list(RankingMeasurer(events, "test", config(), "cpu")._blocks(Fixed()))
    assert sum(len(block.targets) for block in blocks) == 59
    assert max(block.seen.numel() for block in blocks) <= 120


def check_figures(ranked: Ranked, events: EventStore, other: str) -> None:
    counts = events.training_counts()
    figures = ranked.figures(Popularity(torch.from_numpy(counts)))
    for ending, ranks in (("", ranked.ranks.tolist()), (other, ranked.further[other].tolist())):
        for k in (5, 10, 20):
            assert figures[f"hr@{k}{ending}"] == pytest.approx(np.mean([r <= k for r in ranks]))
            assert figures[f"mrr@{k}{ending}"] == pytest.approx(np.mean([1 / r if r <= k else 0 for r in ranks]))
            gains = [1 / math.log2(1 + r) if r <= k else 0 for r in ranks]
            assert figures[f"ndcg@{k}{ending}"] == pytest.approx(np.mean(gains))
    shown = [item for row in ranked.recommended.tolist() for item in row if item]
    assert figures["coverage@10"] == pytest.approx(len(set(shown)) / ITEMS)
    assert figures["gini@10"] == pytest.approx(gini(np.array([shown.count(i) for i in range(1, ITEMS + 1)])))
    bits = [-math.log2(max(1, counts[item]) / max(1, counts.sum())) for item in shown]
    assert figures["novelty_bits@10"] == pytest.approx(np.mean(bits))


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_the_list_holds_the_best_candidates(seed: int, exclude: bool) -> None:
    events = some_events(seed, "last")
    if not cases_of(events):
        return
    ranked = RankingMeasurer(events, "test", config(exclude_seen=exclude), "cpu")(Fixed())
    for row, length, listed in zip(
        ranked.rows.tolist(), ranked.history_lengths.tolist(), ranked.recommended.tolist(), strict=True
    ):
        history = events.items[row - length : row].tolist()
        candidates = [i for i in range(1, ITEMS + 1) if not (exclude and i in history)]
        best = sorted(candidates, key=lambda item: (-float(Fixed.table[history[-1], item]), item))[:10]
        assert listed == best + [0] * (10 - len(best))


@pytest.mark.parametrize("sampling", ["distinct", "reference"])
def test_samples_are_the_same_for_everyone_and_named(sampling: str) -> None:
    events = some_events(3, "last")
    asked = config(sampled_candidates=4, sampling=sampling)
    ranked = RankingMeasurer(events, "test", asked, "cpu")(Fixed())
    again = RankingMeasurer(events, "test", asked, "cpu")(Fixed())
    ending = "_sampled4" if sampling == "distinct" else "_sampled4_reference"
    assert torch.equal(ranked.further[ending], again.further[ending])
    assert float(ranked.further[ending].max()) <= 5
    assert f"ndcg@10{ending}" in ranked.figures(Popularity(torch.from_numpy(events.training_counts())))


class ReadsMany(Fixed):
    """The same scores of a scorer that is best given more windows at a time than a training batch has."""

    rows = 1024


def test_cases_and_samples_do_not_depend_on_how_many_windows_a_scorer_is_given() -> None:
    """A model and its baselines are compared case by case."""
    lengths = np.random.default_rng(0).integers(3, 10, 80)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.random.default_rng(1).integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    events = EventStore(offsets, items, np.arange(len(items), dtype=np.int64), leave_last_out(offsets), ITEMS)
    measurer = RankingMeasurer(events, "test", config(batch_size=1, sampled_candidates=4), "cpu")
    one, many = measurer(Fixed()), measurer(ReadsMany())
    assert one.rows.tolist() == many.rows.tolist()
    assert torch.equal(one.ranks, many.ranks)
    assert torch.equal(one.further["_sampled4"], many.further["_sampled4"])


def test_so_many_samples_that_none_is_left_out_are_the_full_ranking_of_what_was_never_met() -> None:
    events = some_events(5, "last")
    ranked = RankingMeasurer(events, "test", config(sampled_candidates=100), "cpu")(Fixed())
    for row, length, rank in zip(
        ranked.rows.tolist(), ranked.history_lengths.tolist(), ranked.further["_sampled100"].tolist(), strict=True
    ):
        # a user's last event is the held-out one, so all they met is the history and the target
        user = int(np.searchsorted(events.offsets, row, side="right")) - 1
        assert row - length == events.offsets[user]
        assert rank == naive_rank(events, user, row, exclude=True, ties=0.5)


def test_what_a_block_found_does_not_stay_where_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small results kept between large arrays hold memory apart: gigabytes, with a million items."""
    events = some_events(1, "last")
    measurer = RankingMeasurer(events, "test", config(), "cpu")
    kept: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    ranked = measurer._ranked

    def watched(*arguments: Any) -> Ranked:
        found = ranked(*arguments)
        alive.append(sum(one() is not None for one in kept))
        kept.append(weakref.ref(found.recommended))
        return found

    monkeypatch.setattr(evaluation, "_FEWEST_CASES", 1)
    monkeypatch.setattr(evaluation, "_CACHED_SCORES", ITEMS + 1)
    monkeypatch.setattr(RankingMeasurer, "_ranked", lambda self, *arguments: watched(*arguments))
    found = measurer(Fixed())
    assert len(found.ranks) == len(kept) > 4
    assert max(alive) <= 1
