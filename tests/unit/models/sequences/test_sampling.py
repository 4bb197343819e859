from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.models.sequences.ranking import ranks_of, sampled_ranks
from libs.models.sequences.sampling import distinct_negatives, repeated_negatives, sampled_name

DRAWS = {"distinct": distinct_negatives, "reference": repeated_negatives}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    st.integers(0, 2**31),
    st.integers(1, 12),
    st.integers(1, 15),
    st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), min_size=1, max_size=4),
)
def test_only_what_was_not_met_is_drawn(seed: int, items: int, count: int, met: list[list[int]]) -> None:
    table = torch.tensor(met).clamp_max(items)
    for name, draw in DRAWS.items():
        drawn = draw(table, items, count, generator(seed))
        assert torch.equal(drawn, draw(table, items, count, generator(seed)))
        for row, known in zip(drawn.tolist(), table.tolist(), strict=True):
            left = set(range(1, items + 1)) - set(known)
            assert set(row) - {0} <= left
            if name == "distinct":
                assert sorted(set(row) - {0}) == sorted(item for item in row if item)
                assert sum(item > 0 for item in row) == min(count, len(left))
            else:
                assert len(row) == count
                assert (0 in row) == (not left)


@pytest.mark.parametrize("name", DRAWS)
def test_every_item_is_drawn_equally_often(name: str) -> None:
    met = torch.tensor([[3, 7, 3, 0]]).expand(4000, -1)
    drawn = DRAWS[name](met, 10, 4, generator(0))
    counts = Counter(drawn.flatten().tolist())
    assert counts.keys() == {1, 2, 4, 5, 6, 8, 9, 10}
    # 16,000 draws of 8 items: a deviation of 6 % is 2.7 standard deviations of the freer of both rules
    assert all(abs(seen - 2000) < 160 for seen in counts.values())


@given(st.integers(0, 2**31), st.sampled_from(["mid", "optimistic", "pessimistic"]), st.integers(1, 6))
def test_sampled_ranks_are_those_of_counting(seed: int, ties: str, count: int) -> None:
    source = generator(seed)
    scores = torch.randint(0, 4, (3, 8), generator=source).float()
    targets = torch.randint(1, 8, (3,), generator=source)
    negatives = torch.randint(0, 8, (3, count), generator=source)
    ranks = sampled_ranks(scores, targets, negatives, ties=ties)
    for row in range(3):
        others = [float(scores[row, item]) for item in negatives[row].tolist() if item]
        wanted = float(scores[row, targets[row]])
        equal = sum(other == wanted for other in others)
        share = {"mid": 0.5, "optimistic": 0, "pessimistic": 1}[ties]
        assert ranks[row] == 1 + sum(other > wanted for other in others) + share * equal


def test_all_items_as_a_sample_are_the_full_ranking() -> None:
    scores = torch.randn(5, 9, generator=generator(1))
    targets = torch.tensor([1, 2, 3, 4, 8])
    negatives = distinct_negatives(targets[:, None], 8, 100, generator(2))
    assert torch.equal(sampled_ranks(scores, targets, negatives), ranks_of(scores, targets))


def test_the_sample_is_in_the_name() -> None:
    assert sampled_name(100, "distinct") == "_sampled100"
    assert sampled_name(100, "reference") == "_sampled100_reference"
