from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.data.errors import DataError
from libs.data.events.cooccurrence import UserItems, count_together
from libs.data.events.relations import RelationTables, cooccurrence_kernel, cooccurrence_shape, open_tables, save_tables
from libs.models.rksa.kernels import cooccurrence_cosine
from libs.models.rksa.shape import cooccurrence_shape as torch_shape

ITEMS = 6
NAMES = ("users", "factors", "shape", "kernel")
PARTS = [[1, 2, 3], [2, 3, 5], [], [1, 3, 5, 6], [2, 3]]


def tables(*, own_user_out: bool = True, most: int | None = None) -> RelationTables:
    items = np.array([item for part in PARTS for item in part], np.int32)
    sets = UserItems(np.concatenate([[0], np.cumsum([len(part) for part in PARTS])]).astype(np.int64), items)
    factors = np.random.default_rng(0).normal(size=(3, ITEMS + 1, 2)).astype(np.float32)
    factors[:, 0] = 0
    folds = np.array([2, 0, 1, 2, 0, 1])
    return RelationTables(count_together(sets, ITEMS, most), factors, folds, sets if own_user_out else None)


def together(a: int, b: int, without: int | None) -> int:
    return sum({a, b} <= set(part) for user, part in enumerate(PARTS, 1) if user != without)


@given(st.lists(st.integers(0, ITEMS), min_size=5, max_size=5), st.integers(0, len(PARTS)), st.booleans())
def test_counts_leave_the_user_out(items, user, own_user_out):
    found, alone = tables(own_user_out=own_user_out).counts_of(np.array([items]), np.array([user]))
    without = user if own_user_out else None
    assert found[0].tolist() == [[together(a, b, without) for b in items] for a in items]
    assert alone[0].tolist() == [together(a, a, without) for a in items]


def test_counts_cut_short_never_fall_below_zero():
    found, _ = tables(most=1).counts_of(np.array([[1, 2, 3, 5, 6]] * 2), np.array([1, 4]))
    assert (found >= 0).all()


def test_a_user_reads_the_factors_of_the_own_fold():
    asked = tables()
    items = np.array([[1, 2, 0], [3, 4, 5], [6, 0, 0]])
    found = asked.factors_of(items, np.array([1, 5, 0]))
    for row, fold in enumerate([0, 1, 2]):
        assert np.array_equal(found[row], asked.factors[fold][items[row]])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.integers(0, 2**31))
def test_the_shape_is_that_of_torch(items, seed):
    counts = np.random.default_rng(seed).integers(0, 4, (6, 6))
    ids = np.array([items, items[::-1]])
    of_pairs = (counts + counts.T)[ids[:, :, None], ids[:, None, :]].astype(np.float32)
    expected = torch_shape(torch.from_numpy(of_pairs), torch.from_numpy(ids))
    np.testing.assert_allclose(cooccurrence_shape(of_pairs, ids), expected.numpy(), rtol=0, atol=1e-6)


def test_inputs_see_nothing_of_later_items():
    asked = tables()
    whole = asked.inputs_of(np.array([[1, 3, 5, 2, 6]]), np.array([4]), NAMES)
    other = asked.inputs_of(np.array([[1, 3, 5, 4, 1]]), np.array([4]), NAMES)
    assert whole["shape"].dtype == whole["factors"].dtype == np.float32
    assert whole["users"].tolist() == [4]
    assert np.array_equal(whole["shape"][:, :3], other["shape"][:, :3])
    assert np.array_equal(whole["factors"][:, :3], other["factors"][:, :3])
    assert np.array_equal(whole["kernel"][:, :3, :3], other["kernel"][:, :3, :3])
    assert list(asked.inputs_of(np.array([[1, 3]]), np.array([4]), ["shape"])) == ["shape"]
    assert not np.array_equal(whole["shape"][:, 3:], other["shape"][:, 3:])


def test_users_without_a_fold_are_the_unknown_one():
    found = tables().inputs_of(np.array([[1]] * 6), np.arange(6), ["users"])
    assert found["users"].tolist() == [0, 1, 2, 0, 4, 5]


def test_the_kernel_is_that_of_torch():
    items, users = np.array([[1, 3, 5, 3, 0], [4, 2, 0, 0, 0]]), np.array([4, 0])
    together, alone = tables().counts_of(items, users)
    expected = cooccurrence_cosine(torch.from_numpy(together), torch.from_numpy(alone))
    np.testing.assert_allclose(cooccurrence_kernel(together, alone), expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("own_user_out", [True, False])
def test_tables_survive_the_disk(own_user_out: bool, tmp_path: Path):
    saved = tables(own_user_out=own_user_out, most=3)
    ids = pl.Series("id", ["a", "b", "c", "d", "e"])
    assert save_tables(saved, ids, tmp_path) == ["cooccurrence.npz", "factors.npy", "users.parquet"]
    opened = open_tables(tmp_path)
    assert opened.cooccurrence.most_neighbours == 3
    assert (opened.own is not None) == own_user_out
    items, users = np.array([[1, 2, 3, 5, 6, 0]] * 6), np.arange(6)
    for name, expected in saved.inputs_of(items, users, NAMES).items():
        assert np.array_equal(opened.inputs_of(items, users, NAMES)[name], expected), name
    assert pl.read_parquet(tmp_path / "users.parquet")["index"].to_list() == [1, 2, 3, 4, 5]


def test_what_does_not_fit_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        open_tables(tmp_path)
    saved = tables()
    save_tables(saved, pl.Series("id", list("abcde")), tmp_path)
    np.save(tmp_path / "factors.npy", saved.factors[:, :-1])
    with pytest.raises(DataError, match="do not fit"):
        open_tables(tmp_path)
    np.save(tmp_path / "factors.npy", saved.factors[:2])
    with pytest.raises(DataError, match="names a fold"):
        open_tables(tmp_path)
