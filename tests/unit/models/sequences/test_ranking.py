import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.models.sequences.ranking import Popularity, by_group, figures_of, ranks_of, top_items


@given(st.integers(0, 2**31), st.sampled_from(["mid", "optimistic", "pessimistic"]), st.booleans())
def test_ranks_are_those_of_counting(seed, ties, finite):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (3, 8), generator=generator).float()
    if not finite:
        scores = torch.tensor([-math.inf, 1.0, math.inf, math.nan])[scores.long()]
    targets = torch.randint(1, 8, (3,), generator=generator)
    excluded = torch.randint(0, 8, (3, 2), generator=generator)
    ranks = ranks_of(scores, targets, excluded=excluded, ties=ties)
    scores.nan_to_num_(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    for row in range(3):
        target = int(targets[row])
        others = [i for i in range(1, 8) if i != target and i not in excluded[row].tolist()]
        better = sum(bool(scores[row, i] > scores[row, target]) for i in others)
        equal = sum(bool(scores[row, i] == scores[row, target]) for i in others)
        assert ranks[row] == 1 + better + {"mid": equal / 2, "optimistic": 0, "pessimistic": equal}[ties]


def test_a_constant_scorer_is_as_good_as_chance():
    ranks = ranks_of(torch.zeros(1, 101), torch.tensor([7]))
    assert ranks.item() == 50.5
    assert ranks_of(torch.zeros(1, 101), torch.tensor([7]), ties="optimistic").item() == 1


def test_a_score_that_is_no_number_is_last():
    scores = torch.tensor([[0.0, math.nan, 1.0, 2.0]])
    assert ranks_of(scores, torch.tensor([1])).item() == 3


def test_a_model_gone_wrong_is_as_good_as_chance_and_recommends_nothing():
    scores = torch.full((1, 101), math.nan)
    assert ranks_of(scores, torch.tensor([7])).item() == 50.5
    assert not top_items(scores, 3).any()


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_the_best_items_are_those_of_a_sort(seed, count):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 3, (4, 9), generator=generator).float()
    scores[torch.rand(4, 9, generator=generator) < 0.2] = -math.inf
    excluded = torch.randint(0, 9, (4, 3), generator=generator)
    for row, best in enumerate(top_items(scores, count, excluded).tolist()):
        candidates = [i for i in range(1, 9) if i not in excluded[row].tolist() and scores[row, i] > -math.inf]
        expected = sorted(candidates, key=lambda item: (-float(scores[row, item]), item))[:count]
        assert best == expected + [0] * (count - len(expected))


def test_figures_by_hand():
    figures = figures_of(torch.tensor([1.0, 3.0, 11.0, 2.5]), cutoffs=(3, 10))
    assert figures["hr@3"] == pytest.approx(3 / 4)
    assert figures["mrr@10"] == pytest.approx((1 + 1 / 3 + 1 / 2.5) / 4)
    assert figures["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(3.5)) / 4)
    assert math.isnan(figures_of(torch.zeros(0))["hr@5"])


def test_the_best_items_break_ties_by_the_smaller_id():
    scores = torch.tensor([[9.0, 1.0, 3.0, 3.0, 2.0], [9.0, 1.0, 1.0, 1.0, 1.0]])
    excluded = torch.tensor([[3, 0, 0], [1, 2, 3]])
    assert top_items(scores, 3, excluded).tolist() == [[2, 4, 1], [4, 0, 0]]
    assert top_items(scores, 2).tolist() == [[2, 3], [1, 2]]


def test_popularity():
    popularity = Popularity(torch.tensor([0, 8, 4, 2, 1, 1]))
    assert popularity.buckets((0.2, 0.6)).tolist()[1:] == [0, 1, 1, 2, 2]
    recommended = torch.tensor([[1, 2], [1, 0]])
    assert popularity.coverage(recommended) == pytest.approx(2 / 5)
    assert popularity.novelty(recommended) == pytest.approx((1 + 2 + 1) / 3)
    assert popularity.inequality(torch.tensor([[1, 2, 3, 4, 5]])) == 0
    assert popularity.inequality(torch.tensor([[1, 0], [1, 0]])) == pytest.approx(0.8)


def test_groups():
    figures = by_group(torch.tensor([1.0, 20.0, 1.0]), torch.tensor([0, 0, 2]), {0: "head", 1: "middle", 2: "tail"})
    assert figures["head/hr@10"] == 0.5
    assert figures["tail/hr@10"] == 1
    assert not any(name.startswith("middle") for name in figures)
