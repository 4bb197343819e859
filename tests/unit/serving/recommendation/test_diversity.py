"""Maximal marginal relevance, against the definition as a loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from libs.serving.recommendation.diversity import diversify, pool_size


def naive(scores, vectors, k, diversity):
    low, high = scores[-1], scores[0]
    relevance = [(score - low) / (high - low) if high > low else 0.0 for score in scores]
    chosen = [0]
    while len(chosen) < min(k, len(scores)):
        values = {
            place: (1 - diversity) * relevance[place]
            - diversity * max(float(vectors[place] @ vectors[other]) for other in chosen)
            for place in range(len(scores))
            if place not in chosen
        }
        chosen.append(max(values, key=lambda place: (values[place], -place)))
    return chosen


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 12), st.floats(0.05, 1.0))
def test_the_order_is_the_definitions(seed, pool, k, diversity):
    generator = np.random.default_rng(seed)
    scores = np.sort(generator.standard_normal(pool).astype(np.float32))[::-1]
    vectors = generator.standard_normal((pool, 6), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert diversify(scores, vectors, k, diversity).tolist() == naive(scores, vectors, k, diversity)


def test_without_diversity_the_scores_decide():
    scores = np.array([4, 3, 2, 1], np.float32)
    assert diversify(scores, np.eye(4, dtype=np.float32), 3, 0.0).tolist() == [0, 1, 2]


def test_a_twin_of_the_best_waits_for_what_is_different():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert diversify(np.array([1.0, 0.9, 0.5], np.float32), vectors, 3, 0.7).tolist() == [0, 2, 1]


def test_equal_scores_are_no_division_by_zero():
    assert diversify(np.ones(3, np.float32), np.eye(3, dtype=np.float32), 2, 0.5).tolist() == [0, 1]


def test_an_empty_pool_gives_nothing():
    assert diversify(np.zeros(0, np.float32), np.zeros((0, 3), np.float32), 5, 0.5).tolist() == []


def test_the_pool_grows_with_what_is_wanted():
    assert [pool_size(k) for k in (1, 20, 200)] == [100, 100, 1000]
