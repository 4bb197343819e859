import pytest
import torch

from libs.models.rksa.network import RKSA, PairData, RelationSettings
from libs.models.rksa.shape import cooccurrence_shape

ITEMS = torch.tensor([[3, 1, 4, 2, 5], [2, 2, 6, 0, 0]])
USERS = torch.tensor([1, 0])


def pairs(items=ITEMS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 4, (8, 8), generator=generator).double()
    counts = counts + counts.T
    table = 0.3 * torch.randn(8, 3, generator=generator, dtype=torch.float64)
    table[0] = 0
    together = counts[items.unsqueeze(2), items.unsqueeze(1)]
    return PairData(table[items], cooccurrence_shape(together, items))


def network(**settings):
    torch.manual_seed(0)
    return RKSA(7, 3, width=8, max_length=6, dropout=0.0, settings=RelationSettings(rank=4, **settings)).double().eval()


SETTINGS = [
    {},
    {"relations": ()},
    {"relations": ("cooccurrence",)},
    {"relations": ("item",), "skew": False},
    {"relations": ("user",), "mixture": "fixed"},
    {"noise": "sequence"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_position_sees_nothing_of_later_ones(settings):
    model = network(**settings)
    whole = model(ITEMS, USERS, pairs())
    for n in range(1, 5):
        cut = ITEMS[:, :n]
        torch.testing.assert_close(model(cut, USERS, pairs(cut))[0], whole[0, :n], rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS)
def test_padding_changes_nothing(settings):
    model = network(**settings)
    short = ITEMS[1:, :3]
    torch.testing.assert_close(
        model(short, USERS[1:], pairs(short))[0], model(ITEMS, USERS, pairs())[1, :3], rtol=0, atol=1e-12
    )


def test_places_may_count_from_the_last_item():
    """What ends alike is at the same places, however long it is, and however the window is padded."""
    model = RKSA(7, 3, width=8, max_length=6, dropout=0.0, places="last", settings=RelationSettings(relations=()))
    model = model.double().eval()
    assert model.places_of(ITEMS).tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 5, 5]]
    longer, same, other = model.inputs(torch.tensor([[3, 1, 2, 5], [2, 5, 0, 0], [2, 5, 1, 0]]))
    torch.testing.assert_close(longer[2:], same[:2])
    assert not torch.isclose(other[:2], same[:2]).all(-1).any()
    torch.testing.assert_close(model(ITEMS[1:, :3], USERS[1:])[0], model(ITEMS, USERS)[1, :3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [changes for changes in SETTINGS if changes.get("relations") != ()])
def test_training_samples_and_every_parameter_learns(settings):
    model = network(**settings).train()
    torch.manual_seed(1)
    first = model(ITEMS, USERS, pairs())
    assert not torch.equal(first, model(ITEMS, USERS, pairs()))
    first.square().sum().backward()
    missing = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not missing
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_without_relations_it_is_plain_attention():
    model = network(relations=())
    assert not any("kernels" in name or "scale" in name or "shape" in name for name, _ in model.named_parameters())
    assert torch.equal(model(ITEMS, USERS), model(ITEMS, USERS, pairs()))


def test_relations_need_their_data():
    with pytest.raises(ValueError, match="pair data"):
        network()(ITEMS, USERS)


def test_the_mixture_belongs_to_the_user_and_starts_even():
    kernels = network().kernels
    torch.testing.assert_close(kernels.weights(USERS), torch.full((2, 3), 1 / 3, dtype=torch.float64))
    with torch.no_grad():
        kernels.of_user.normal_()
        kernels.users.weight.normal_()
    weights = kernels.weights(USERS)
    assert not torch.allclose(weights[0], weights[1])
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))


def test_a_mixture_sure_of_one_relation_has_finite_gradients():
    model = network().train()
    with torch.no_grad():
        model.kernels.start.copy_(torch.tensor([800.0, 0.0, 0.0]))
    assert model.kernels.weights(USERS)[0].tolist() == [1, 0, 0]
    model(ITEMS, USERS, pairs()).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_the_first_spread_is_the_one_asked_for():
    model = network()
    attention = model.blocks[0].attention
    embedded = model.items(ITEMS)
    scale = attention.latent(embedded, embedded, pairs()).scale
    torch.testing.assert_close(scale, torch.full_like(scale, 0.2873), rtol=0, atol=0.02)
