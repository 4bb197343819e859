"""The explanation against the network's own attention, one sequence and one item at a time."""

import math

import pytest
import torch

from libs.models.rksa.attention import LowRank, mean_logits, sample_logits, skewness
from libs.models.rksa.explanation import Explainer
from libs.models.rksa.network import RKSA, PairData, RelationSettings
from libs.models.rksa.shape import cooccurrence_shape

ITEMS = torch.tensor([[3, 1, 4, 2, 5], [2, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])
USERS = torch.tensor([1, 0])


def pairs() -> PairData:
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 4, (8, 8), generator=generator).double()
    together = (counts + counts.T)[ITEMS.unsqueeze(2), ITEMS.unsqueeze(1)]
    table = 0.3 * torch.randn(8, 3, generator=generator, dtype=torch.float64)
    rows = table[ITEMS]
    kernel = rows @ rows.transpose(1, 2)
    kernel = kernel.diagonal_scatter(torch.ones(2, 5, dtype=torch.float64), dim1=-2, dim2=-1)
    return PairData(rows, cooccurrence_shape(together, ITEMS), kernel)


def network(**settings) -> RKSA:
    torch.manual_seed(0)
    made = RelationSettings(rank=4, cooccurrence_rank=3, **settings)
    built = RKSA(7, 3, width=8, max_length=6, dropout=0.0, settings=made).double().eval()
    for name, parameter in built.named_parameters():
        if "users" in name or "of_user" in name or "attention.s" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return built.requires_grad_(False)


SETTINGS = [
    {},
    {"form": "dense"},
    {"relations": ("user",), "mixture": "fixed"},
    {"skew": False},
    {"relations": ("item", "cooccurrence"), "activation": "softplus"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_weights_and_lifts_are_those_of_the_last_row(settings):
    model = network(**settings)
    explained = Explainer(model, 6).double()(ITEMS, LENGTHS, USERS, pairs())
    latent = model.read(ITEMS, USERS, pairs()).latents[-1]
    correlation = model.correlation(ITEMS, USERS, pairs())
    whole = mean_logits(latent.location, latent.scale, latent.shape, correlation)
    delta, _ = skewness(correlation, latent.shape)
    lift = math.sqrt(2 / math.pi) * latent.scale * delta
    for row, length in enumerate(LENGTHS.tolist()):
        expected = torch.softmax(whole[row, length - 1, :length], 0)
        torch.testing.assert_close(explained.weights[row, :length], expected)
        torch.testing.assert_close(explained.lift[row, :length], lift[row, length - 1, :length])
        for part in (explained.weights, explained.spread, explained.lift):
            assert not part[row, length:].any()
    torch.testing.assert_close(explained.mixture, model.kernels.weights(USERS))


def test_each_relation_has_its_share_of_the_lift():
    """By the definition, entry by entry: sqrt(2/pi) omega_j sum_k alpha_k r_m k_m(k, j) / c."""
    model, data = network(), pairs()
    explained = Explainer(model, 6).double()(ITEMS, LENGTHS, USERS, data)
    latent = model.read(ITEMS, USERS, data).latents[-1]
    correlation = model.correlation(ITEMS, USERS, data)
    full = correlation.factors @ correlation.factors.transpose(1, 2) + torch.diag_embed(correlation.rest)
    factors = model.kernels.factors(model.items(ITEMS), USERS, data)
    for b, last in ((0, 4), (1, 2)):
        alpha, omega = latent.shape[b, last], latent.scale[b, last]
        c = math.sqrt(1 + float(alpha @ full[b] @ alpha))
        for m, factor in enumerate(factors.values()):
            r = float(explained.mixture[b, m])
            for j in range(last + 1):
                total = sum(float(alpha[k]) * float(factor[b, k] @ factor[b, j]) for k in range(5))
                expected = math.sqrt(2 / math.pi) * float(omega[j]) * r * total / c
                assert float(explained.relation_lift[b, m, j]) == pytest.approx(expected, abs=1e-10)


def test_the_spread_is_that_of_many_draws():
    model, data = network(), pairs()
    many, again = (Explainer(model, 6, samples=2000).double()(ITEMS, LENGTHS, USERS, data) for _ in range(2))
    assert torch.equal(many.spread, again.spread)
    read = model.read(ITEMS, USERS, data)
    latent, generator = read.latents[-1], torch.Generator().manual_seed(1)
    for row, last in ((0, 4), (1, 2)):
        correlation = LowRank(read.correlation.factors[row])
        parts = (part[row, last].expand(2000, -1) for part in (latent.location, latent.scale, latent.shape))
        drawn = sample_logits(*parts, correlation, correlation.noise(2000, generator))[:, : last + 1]
        spread = torch.softmax(drawn, -1).std(0, unbiased=False)
        torch.testing.assert_close(many.spread[row, : last + 1], spread, rtol=0.1, atol=0.005)
    with torch.no_grad():
        for block in model.blocks:
            block.attention.settings = RelationSettings(rank=4, cooccurrence_rank=3, start_scale=-30.0)
            block.attention.scale_query.weight.zero_()
    assert float(Explainer(model, 6).double()(ITEMS, LENGTHS, USERS, data).spread.max()) < 1e-9


def test_without_skew_nothing_is_lifted():
    explained = Explainer(network(skew=False), 6).double()(ITEMS, LENGTHS, USERS, pairs())
    assert not explained.lift.any()
