import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.models.hcrnn.context_scores import context_scores
from libs.models.hcrnn.network import HCRNN
from libs.models.hcrnn.topics import first_occurrences, running_bags

ITEMS = torch.tensor([[3, 1, 3, 2, 5, 1], [4, 4, 2, 0, 0, 0], [6, 0, 0, 0, 0, 0]])
LENGTHS = torch.tensor([6, 3, 1])


def network(**changes):
    torch.manual_seed(0)
    return HCRNN(7, item_dim=5, hidden_dim=5, num_topics=3, **changes).double().eval()


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=4))
def test_first_occurrences_are_those_of_a_set(rows):
    expected = [[item != 0 and item not in row[:i] for i, item in enumerate(row)] for row in rows]
    assert first_occurrences(torch.tensor(rows)).tolist() == expected


def test_a_bag_counts_an_item_once():
    embedded = torch.eye(7)[ITEMS] * (ITEMS != 0).unsqueeze(-1)
    bags = running_bags(embedded, ITEMS)
    assert bags[0, 2].tolist() == [0, 1, 0, 1, 0, 0, 0]
    assert bags[1, -1].tolist() == [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("attention", ["single", "bi"])
def test_causal_answers_do_not_see_the_future(version, attention):
    model = network(version=version, attention=attention)
    whole = model.encode_causally(ITEMS, LENGTHS).features
    for n in range(1, 6):
        cut = model.encode_causally(ITEMS[:, :n], LENGTHS.clamp(max=n)).features
        torch.testing.assert_close(cut[0], whole[0, :n], rtol=0, atol=1e-12)


def test_both_forms_agree_when_the_bag_does():
    """A sequence of one item repeated has the same bag at every position."""
    model = network()
    items, lengths = torch.full((2, 4), 3), torch.tensor([4, 2])
    causal = model.encode_causally(items, lengths).features
    prefixes = model.encode_prefixes(items, lengths).features[:, 0]
    torch.testing.assert_close(causal[torch.arange(2), lengths - 1], prefixes, rtol=0, atol=1e-12)


def test_padding_changes_nothing():
    model = network()
    short = model.encode_prefixes(ITEMS[1:2, :3], LENGTHS[1:2]).features
    padded = model.encode_prefixes(ITEMS, LENGTHS).features[1:2]
    torch.testing.assert_close(short, padded, rtol=0, atol=1e-12)


def test_blocks_of_queries_do_not_change_the_answer(monkeypatch):
    model = network()
    whole = model.encode_causally(ITEMS, LENGTHS).features
    monkeypatch.setattr("libs.models.sequences.additive._MOST_ELEMENTS", 1)
    torch.testing.assert_close(model.encode_causally(ITEMS, LENGTHS).features, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("version", [2, 3])
def test_agreement_may_only_open_the_gate(version):
    model = network(version=version)
    assert (model.cell.drift.weight > 0).all()
    with torch.no_grad():
        model.cell.drift.weight.sub_(10)
    model.project()
    assert (model.cell.drift.weight == 1e-12).all()


@pytest.mark.parametrize("version", [2, 3])
def test_as_a_softplus_no_step_closes_the_gate_to_agreement(version):
    clipped, free = network(version=version), network(version=version, drift_constraint="softplus")
    free.cell.drift.start_at(clipped.cell.drift.weight)
    state = clipped.state_dict()
    with pytest.raises(RuntimeError, match=r"drift\.raw"):  # weights of one are not taken for those of the other
        free.load_state_dict(state)
    del state["cell.drift.weight"]
    free.load_state_dict(state, strict=False)
    features = free.encode_causally(ITEMS, LENGTHS).features
    torch.testing.assert_close(features, clipped.encode_causally(ITEMS, LENGTHS).features, rtol=0, atol=1e-12)
    with torch.no_grad():
        free.cell.drift.raw.sub_(10)
    free.project()
    one = torch.eye(5, dtype=torch.float64)
    bias = 0 if free.cell.drift.bias is None else free.cell.drift.bias
    assert (free.cell.drift(one) - bias > 0).all()
    free.encode_causally(ITEMS, LENGTHS).features.square().sum().backward()
    assert (free.cell.drift.raw.grad != 0).any()


def test_one_draw_of_theta_a_sequence():
    """A sequence of one item has the same bag everywhere, so its mixtures differ by their noise alone."""
    model = network(input_dropout=0.0).train()
    items = torch.tensor([[3, 3, 3, 3], [3, 3, 3, 3]])
    theta = model.encode_causally(items, torch.tensor([4, 4])).theta
    assert theta.shape == (2, 4, 3)
    torch.testing.assert_close(theta.sum(-1), torch.ones(2, 4, dtype=torch.float64))
    assert (theta == theta[:, :1]).all()
    assert (theta[0] != theta[1]).all()
    assert not torch.equal(model.encode_causally(items, torch.tensor([4, 4])).theta, theta)


def test_the_divergence_is_that_of_the_posterior_from_the_prior():
    topics = network().topics
    bag = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hidden = torch.nn.functional.elu(topics.hidden(bag))
    deviation = 1e-6 + torch.nn.functional.softplus(topics.deviation(hidden))
    posterior = torch.distributions.Normal(topics.location(hidden), deviation)
    prior = torch.distributions.Normal(torch.zeros_like(deviation), 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(topics(bag)[1], expected, rtol=0, atol=1e-7)


def test_theta_gates_and_weights_are_there_to_explain():
    states = network().encode_causally(ITEMS, LENGTHS).states
    assert states.drift.shape == states.reset.shape == (3, 6, 5)
    assert states.topic_weights.shape == (3, 6, 3)
    assert (states.drift[1, 3:] == 0).all()
    assert ((states.drift[0] > 0) & (states.drift[0] < 1)).all()


def test_the_gradient_written_out_is_the_gradient():
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (4, 5), (3, 5), (5,))
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(context_scores, inputs)
