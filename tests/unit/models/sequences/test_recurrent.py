import pytest
import torch

from libs.models.sequences.recurrent import NARM, GRU4Rec

ITEMS = torch.tensor([[3, 1, 4, 2, 5], [2, 2, 6, 0, 0]])
NETWORKS = {
    "tied GRU4Rec": lambda: GRU4Rec(7, 6),
    "untied GRU4Rec": lambda: GRU4Rec(7, 6, tied=False),
    "NARM": lambda: NARM(7, 6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_position_sees_nothing_of_later_ones(name):
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    whole = model(ITEMS)
    for n in range(1, 5):
        torch.testing.assert_close(model(ITEMS[:, :n])[0], whole[0, :n], rtol=0, atol=1e-12)


def test_a_tied_table_is_one_parameter():
    tied, untied = GRU4Rec(7, 6), GRU4Rec(7, 6, tied=False)
    assert tied.outputs is tied.items
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 8 * 6
    assert not tied.items.weight[0].any()
