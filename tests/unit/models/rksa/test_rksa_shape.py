import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.models.rksa.shape import cooccurrence_shape


def row_by_row(together, items):
    """The definition, applied to each prefix with its last item as the query."""
    n = len(items)
    result = np.zeros((n, n))
    for t in range(n):
        prefix = items[: t + 1]
        same = prefix[:, None] == prefix[None, :]
        counts = np.where(same, 0.0, together[: t + 1, : t + 1])
        others = (~same).sum(1)
        means = np.divide(counts.sum(1), others, out=np.zeros(t + 1), where=others > 0)
        counts = np.where(same, means[:, None], counts)
        raw = counts @ counts[:, t]
        if raw.max() > 0:
            result[t, : t + 1] = raw / raw.max()
    return result


@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.integers(0, 2**31))
def test_all_positions_at_once_equal_the_definition(items, seed):
    items = np.array(items)
    counts = np.random.default_rng(seed).integers(0, 4, (6, 6))
    counts = counts + counts.T
    together = counts[items][:, items].astype(float)
    actual = cooccurrence_shape(torch.from_numpy(together), torch.from_numpy(items))
    np.testing.assert_allclose(actual.numpy(), row_by_row(together, items), rtol=0, atol=1e-12)


def test_rows_do_not_see_the_future():
    generator = torch.Generator().manual_seed(0)
    together = torch.randint(0, 5, (8, 8), generator=generator).double()
    together = together + together.T
    items = torch.arange(8)
    whole = cooccurrence_shape(together, items)
    changed = together.clone()
    changed[5:] = changed[:, 5:] = 99
    torch.testing.assert_close(cooccurrence_shape(changed, items)[:5], whole[:5], rtol=0, atol=0)


def test_items_that_never_met_have_no_shape():
    assert not cooccurrence_shape(torch.zeros(4, 4), torch.arange(4)).any()
