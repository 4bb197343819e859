"""The best of many scores, against sorting all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from libs.serving.recommendation.ranking import top_k

SCORES = st.sampled_from([-np.inf, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0])


def naive(scores, k):
    places = [place for place in range(len(scores)) if scores[place] > -np.inf]
    return sorted(places, key=lambda place: (-scores[place], place))[:k]


@given(arrays.arrays(np.float32, st.integers(0, 700), elements=SCORES), st.integers(1, 30))
def test_many_ties_are_ranked_as_by_sorting(scores, k):
    assert top_k(scores, k).tolist() == naive(scores, k)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 200))
def test_distinct_scores_are_ranked_as_by_sorting(seed, n, k):
    scores = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    scores[:: 1 + seed % 5] = -np.inf
    assert top_k(scores, k).tolist() == naive(scores, k)


def test_fewer_candidates_than_wanted_are_all_ranked():
    scores = np.full(10_000, -np.inf, np.float32)
    scores[[7, 9_999]] = [1.0, 2.0]
    assert top_k(scores, 20).tolist() == [9_999, 7]


def test_no_candidate_gives_nothing():
    assert top_k(np.full(5_000, -np.inf, np.float32), 3).tolist() == []
