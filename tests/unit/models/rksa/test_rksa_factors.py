import numpy as np
import pytest
import torch

from libs.data.events.cooccurrence import UserItems
from libs.models.rksa.factors import cross_fitted_factors, folds_of, kernel_factors

USERS, ITEMS = 60, 25


def incidence() -> np.ndarray:
    random = np.random.default_rng(0)
    groups = random.integers(0, 3, USERS)
    likes = np.where(groups[:, None] == np.arange(ITEMS + 1) % 3, 0.5, 0.05)
    has = random.random((USERS, ITEMS + 1)) < likes
    has[:, [0, 7]] = False
    has[5] = False
    return has


def sets_of(has: np.ndarray) -> UserItems:
    owners, items = np.nonzero(has)
    offsets = np.searchsorted(owners, np.arange(len(has) + 1)).astype(np.int64)
    return UserItems(offsets, items.astype(np.int32))


def kernel(has: np.ndarray) -> np.ndarray:
    counts = has.sum(0)
    scaled = has * np.divide(1, np.sqrt(np.maximum(counts, 1)), where=counts > 0, out=np.zeros(len(counts)))
    return scaled.T @ scaled


@pytest.mark.parametrize("rank", [3, 10, 25])
def test_the_best_factors_of_a_rank(rank: int):
    """Products of the factors are numpy's best approximation of that rank, by its eigenvectors."""
    exact = kernel(incidence())
    values, vectors = np.linalg.eigh(exact)
    best = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
    factors = kernel_factors(sets_of(incidence()), ITEMS, rank, 0, torch.ones(USERS, dtype=torch.bool)).numpy()
    assert factors.shape == (ITEMS + 1, min(rank, factors.shape[1]))
    np.testing.assert_allclose(factors @ factors.T, best, rtol=0, atol=2e-2 if rank < ITEMS else 2e-4)
    error = np.linalg.norm(factors @ factors.T - exact) - np.linalg.norm(best - exact)
    assert error < 0.01 * np.linalg.norm(exact)


def test_rows_are_no_longer_than_one_and_cold_items_have_none():
    factors = kernel_factors(sets_of(incidence()), ITEMS, 4, 0, torch.ones(USERS, dtype=torch.bool))
    assert float(factors.norm(dim=1).max()) <= 1 + 1e-6
    assert not factors[[0, 7]].any()


def test_a_fold_is_made_without_its_users():
    has = incidence()
    folds = folds_of(sets_of(has), 4, seed=1)
    assert folds[0] == folds[6] == 4  # the unknown user, and the one without items
    tables = cross_fitted_factors(sets_of(has), ITEMS, folds, ITEMS, 0)
    assert tables.shape == (5, ITEMS + 1, ITEMS)
    for fold in range(5):
        without = has & ((folds[1:] != fold) | (fold == 4))[:, None]
        np.testing.assert_allclose(tables[fold] @ tables[fold].T, kernel(without), rtol=0, atol=1e-3)


def test_a_user_with_one_item_has_nothing_to_leave_out():
    sets = UserItems(np.array([0, 1, 3]), np.array([2, 1, 3], np.int32))
    folds = folds_of(sets, 2, 0)
    assert folds[1] == folds[0] == 2
    assert folds[2] < 2


def test_what_a_user_did_changes_nothing_in_the_table_they_read():
    has = incidence()
    folds = folds_of(sets_of(has), 4, seed=1)
    changed = has.copy()
    changed[20] = ~changed[20]
    changed[20, 0] = False
    before, after = (cross_fitted_factors(sets_of(rows), ITEMS, folds, 5, 0) for rows in (has, changed))
    own = folds[21]
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[(own + 1) % 4], after[(own + 1) % 4])


def test_the_seed_decides():
    sets = sets_of(incidence())
    assert np.array_equal(folds_of(sets, 4, 3), folds_of(sets, 4, 3))
    first, again, other = (cross_fitted_factors(sets, ITEMS, folds_of(sets, 4, s), 5, s) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_columns_than_items_are_zero():
    sets = UserItems(np.array([0, 2, 4]), np.array([1, 2, 1, 3], np.int32))
    tables = cross_fitted_factors(sets, 3, folds_of(sets, 2, 0), 8, 0)
    assert tables.shape == (3, 4, 8)
    assert np.isfinite(tables).all()
    np.testing.assert_allclose(tables[2] @ tables[2].T, kernel(np.array([[0, 1, 1, 0], [0, 1, 0, 1]])), atol=1e-5)
