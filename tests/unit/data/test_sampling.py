"""Orders, samples, splits and weights as functions of a seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from libs.data.sampling import (
    apportion,
    balanced_class_weights,
    endless_order,
    epoch_draws,
    epoch_order,
    stratified_sample,
)
from libs.data.splits import stratified_split

counts = st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(lambda values: sum(values) > 0)
labels = counts.map(lambda values: np.repeat(np.arange(len(values)), values))


@given(st.integers(0, 2**31 - 1), st.integers(0, 10_000), st.integers(1, 200))
def test_an_epoch_shows_every_picture_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(epoch_order(seed, epoch, count)) == list(range(count))


@given(st.integers(0, 500), st.integers(0, 100), st.integers(1, 60))
def test_an_endless_order_is_the_same_however_it_is_cut(start: int, length: int, count: int) -> None:
    cut = endless_order(3, start, start + length + 1, count).tolist()
    whole = endless_order(3, 0, start + length + 1, count)
    assert whole[start:].tolist() == cut
    passes = whole[: len(whole) // count * count].reshape(-1, count)
    assert (np.sort(passes, axis=1) == np.arange(count)).all()


def test_order_and_draws_are_independent_streams() -> None:
    order, draws = epoch_order(3, 5, 1000), epoch_draws(3, 5, 1000, 2)
    assert abs(np.corrcoef(order, draws[:, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.1
    assert abs(np.corrcoef(draws[:, 0], epoch_draws(3, 6, 1000, 2)[:, 0])[0, 1]) < 0.1


@given(counts, st.integers(0, 400))
def test_apportion_gives_out_everything_close_to_the_shares(values: list[int], size: int) -> None:
    held = np.array(values)
    take = apportion(held, size)
    assert take.sum() == size
    assert (take[held == 0] == 0).all()
    if size >= np.count_nonzero(held):
        assert (take[held > 0] >= 1).all()
    if (held * (size / held.sum()) >= 1).all():
        assert np.abs(take - held * (size / held.sum())).max() < 1


@given(labels, st.data())
def test_a_sample_is_stratified(values: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(values)))
    picked = stratified_sample(values, size, seed=1)
    assert len(set(picked.tolist())) == size
    held = np.bincount(values)
    assert (np.bincount(values[picked], minlength=len(held)) <= held).all()


@given(labels, st.integers(0, 5))
def test_a_split_covers_every_class_where_it_can(values: np.ndarray, seed: int) -> None:
    splits = np.array(stratified_split(values, {"train": 0.7, "val": 0.1, "test": 0.2}, seed))
    assert len(splits) == len(values)
    for label in np.unique(values):
        held = splits[values == label]
        if len(held) >= 3:
            assert set(held) == {"train", "val", "test"}
        for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            assert abs((held == name).sum() - share * len(held)) <= 2


def test_a_share_of_zero_makes_no_split() -> None:
    assert set(stratified_split(np.zeros(20, int), {"train": 0.8, "val": 0.0, "test": 0.2}, 0)) == {"train", "test"}


@given(labels)
def test_balanced_weights_give_every_class_the_same_total(values: np.ndarray) -> None:
    held = np.bincount(values)
    totals = balanced_class_weights(values, len(held)) * held
    present = totals[held > 0]
    np.testing.assert_allclose(present, len(values) / len(present), rtol=1e-5)
    assert (totals[held == 0] == 0).all()
