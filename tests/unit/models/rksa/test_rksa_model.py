from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from libs.data.events.splits import by_user, leave_last_out
from libs.data.events.store import EventStore
from libs.models.rksa.attention import attend, sample_logits
from libs.models.rksa.build import build_rksa, build_sasrec, most_neighbours_of
from libs.models.rksa.config import RksaConfig, SasrecConfig
from libs.models.rksa.divergence import row_divergence
from libs.models.rksa.model import RksaModel, SasrecModel
from libs.models.sequences.evaluation import ModelScorer, RankingMeasurer
from libs.models.sequences.task import fit_sequences
from libs.training.local_run import LocalRun
from libs.training.optimisers import optimiser_of
from libs.training.precision import precision_for

ITEMS = 9
SMALL = {"epochs": 3, "batch_size": 8, "lr": 0.02, "max_length": 6, "width": 12, "rank": 4, "cooccurrence_rank": 5}
QUIET = {"checkpoint_every_s": 86_400, "blocks": 1, "dropout": 0.0, "exclude_seen": False}


def cycles(users: int = 30) -> EventStore:
    """Every user walks round the items, from a place of their own, for a while of their own."""
    random = np.random.default_rng(0)
    lengths = random.integers(4, 9, users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts = random.integers(0, ITEMS, users)
    items = np.concatenate([(start + np.arange(n)) % ITEMS + 1 for start, n in zip(starts, lengths, strict=True)])
    times = np.arange(len(items), dtype=np.int64)
    return EventStore(offsets, items.astype(np.int32), times, leave_last_out(offsets), ITEMS)


def config(**changes: Any) -> RksaConfig:
    return RksaConfig.model_validate({**SMALL, **QUIET, **changes})


def model(seed: int = 0, **changes: Any) -> RksaModel:
    torch.manual_seed(seed)
    built = build_rksa(config(**changes), cycles(), seed=1)
    assert isinstance(built, RksaModel)
    with torch.no_grad():  # away from the start, where all users and rows are alike
        for name, parameter in built.named_parameters():
            if "users" in name or "of_user" in name or "attention.s" in name:
                parameter.normal_(std=0.5)
    return built


def history(events: EventStore, user: int, length: int) -> torch.Tensor:
    begin = events.offsets[user - 1]
    return torch.from_numpy(events.items[begin : begin + length].astype(np.int64)).unsqueeze(0)


FORMS: list[dict[str, Any]] = [
    {},
    {"form": "dense"},
    {"relations": ("item",), "mixture": "fixed"},
    {"relations": ("cooccurrence", "user"), "skew": False},
    {"activation": "softplus", "start_scale": 0.0},
    {"samples": 3},
    {"samples": 3, "noise": "sequence"},
    {"most_neighbours": 2, "own_user_out": False},
]


LEARNING: list[dict[str, Any]] = [
    {},
    {"kernel_loss": 0.5, "latent_divergence": 0.01},
    {"form": "dense"},
    {"objective": "bce", "negatives": 2},
]


@pytest.mark.parametrize("changes", FORMS)
def test_a_later_item_changes_nothing_before(changes: dict[str, Any]):
    """With counts, factors and own shares as they come from the events."""
    events, built = cycles(), model(**changes).eval()
    users = torch.tensor([3])
    items = history(events, 3, 4)
    changed = items.clone()
    changed[0, 3] = items[0, 3] % ITEMS + 1
    lengths = torch.tensor([4])
    first, second = (built.encode(ids, lengths, users).features for ids in (items, changed))
    torch.testing.assert_close(first[:, :3], second[:, :3], rtol=0, atol=1e-6)
    assert not torch.allclose(first[:, 3], second[:, 3], atol=1e-4)
    cut = built.encode(items[:, :3], torch.tensor([3]), users).features
    torch.testing.assert_close(first[:, :3], cut, rtol=0, atol=1e-6)


def test_the_own_share_is_out_of_counts_and_kernel():
    events, built = cycles(), model(form="dense")
    items = history(events, 3, 4)
    sets = [set(events.items[a:b].tolist()) for a, b in zip(events.offsets, events.ends[:, 0], strict=False)]
    for user in (0, 3):
        others = [part for number, part in enumerate(sets, 1) if number != user]
        pairs = built.pairs_of(items, torch.tensor([user]))
        ids = items[0].tolist()
        has = np.array([[item in part for item in ids] for part in others], float)
        counts = np.maximum(has.sum(0), 1)
        expected = (has / np.sqrt(counts)).T @ (has / np.sqrt(counts))
        np.fill_diagonal(expected, 1)
        assert pairs.kernel is not None
        np.testing.assert_allclose(pairs.kernel[0].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", LEARNING)
def test_it_learns_the_cycle(changes: dict[str, Any], tmp_path: Path):
    run = LocalRun(tmp_path, seed=1, quiet=True)
    settings = config(epochs=15, **changes)
    torch.manual_seed(0)
    fitted = fit_sequences(build_rksa(settings, cycles(), 1), cycles(), settings, run)
    assert fitted.test is not None
    assert float((fitted.test.ranks <= 2).double().mean()) > 0.9
    assert run.latest("train/next_item") < 0.5 * run.metrics[0][1]
    observed = {"rksa/omega_median_0", "rksa/delta_median_0", "rksa/mixture_item", "rksa/one_relation_users"}
    assert observed < set(fitted.history.names)
    if "kernel_loss" in changes:
        points = fitted.history.series("train/kernel_fit")
        assert points[-1].value < 0.5 * points[0].value
        assert fitted.history.series("train/latent_divergence")


def test_sasrec_learns_it_too(tmp_path: Path):
    fields = {name: value for name, value in {**SMALL, **QUIET, "epochs": 15}.items() if "rank" not in name}
    settings = SasrecConfig.model_validate(fields)
    torch.manual_seed(0)
    fitted = fit_sequences(build_sasrec(settings, cycles()), cycles(), settings, LocalRun(tmp_path, seed=1, quiet=True))
    assert fitted.test is not None
    assert float((fitted.test.ranks <= 2).double().mean()) > 0.9


def test_without_relations_it_is_sasrec():
    built = build_rksa(config(relations=()), cycles(), 1)
    assert isinstance(built, SasrecModel)


def test_users_are_hidden_in_training_only():
    built = model(unknown_user=1.0)
    items = history(cycles(), 3, 4)
    lengths, user = torch.tensor([4]), torch.tensor([3])
    torch.manual_seed(1)
    hidden = built.train().encode(items, lengths, user).features
    with torch.no_grad():
        built.kernels.users.weight[3] += 1.0
    torch.manual_seed(1)
    assert torch.equal(built.encode(items, lengths, user).features, hidden)
    known, unknown = (built.eval().encode(items, lengths, torch.tensor([u])).features for u in (3, 0))
    assert not torch.allclose(known, unknown, atol=1e-4)


def split_by_user() -> EventStore:
    """Events of users of whom some are for training, some for validation and some for testing."""
    events = cycles()
    return replace(events, ends=by_user(events.offsets, (0.3, 0.3), 0))


@pytest.mark.parametrize("changes", [{}, {"form": "dense"}, {"own_user_out": False}])
def test_users_without_training_events_are_the_unknown_one(changes: dict[str, Any]):
    events = split_by_user()
    cold = 1 + np.flatnonzero(events.ends[:, 0] == events.offsets[:-1])
    built = build_rksa(config(**changes), events, seed=1)
    assert isinstance(built, RksaModel)
    figures = built.mixture_figures(torch.device("cpu"))
    measured = RankingMeasurer(events, "test", config(**changes), "cpu")
    scorer = ModelScorer(built.eval(), precision_for("off", torch.device("cpu")), "cpu")
    ranks = measured.ranks(scorer)
    assert len(ranks) > 0
    with torch.no_grad():  # rows that no training event teaches
        built.kernels.users.weight[torch.from_numpy(cold)] += 3 * torch.randn(len(cold), 12)
    assert torch.equal(measured.ranks(scorer), ranks)
    assert built.mixture_figures(torch.device("cpu")) == figures
    items = history(events, int(cold[0]), 4)
    known = int(np.setdiff1d(np.arange(1, events.num_users + 1), cold)[0])
    served = built.tables.inputs_of(items.repeat(3, 1).numpy(), np.array([cold[0], 0, known]), ["users"])
    assert served["users"].tolist() == [0, 0, known]
    alone, unknown = (built.encode(items, torch.tensor([4]), torch.tensor([u])).features for u in (int(cold[0]), 0))
    assert torch.equal(alone, unknown)


def test_the_mixture_without_known_users_is_the_unknown_ones():
    events = cycles()
    built = build_rksa(config(), replace(events, ends=np.stack([events.offsets[:-1], events.offsets[1:]], 1)), seed=1)
    assert isinstance(built, RksaModel)
    assert built.mixture_figures(torch.device("cpu"))["rksa/mixture_item"] == pytest.approx(1 / 3)


def test_fixed_draws_are_a_function_and_come_near_the_expectation():
    built = model(samples=200).eval()
    items, users = history(cycles(), 3, 5), torch.tensor([3])
    pairs = built.pairs_of(items, users)
    read = built.network.read(items, users, pairs)
    correlation = read.correlation
    assert correlation is not None
    attention = built.network.blocks[0].attention
    latent = replace(read.latents[0], scale=0.3 * read.latents[0].scale)
    parameters = (latent.location, latent.scale, latent.shape)
    fixed = attention.weights(latent, correlation)
    assert torch.equal(fixed, attention.weights(latent, correlation))
    torch.manual_seed(0)
    many = torch.stack([attend(sample_logits(*parameters, correlation, correlation.noise(5))) for _ in range(1000)])
    without_skew = attend(latent.location)
    assert (without_skew - many.mean(0)).detach().abs().max() > 0.15
    torch.testing.assert_close(fixed, many.mean(0), rtol=0, atol=0.05)
    attention.draws = None
    mean_form = attention.weights(latent, correlation)
    assert (mean_form - many.mean(0)).detach().abs().max() < 0.03


def test_dense_equals_low_rank_when_the_factor_is_exact():
    """A sequence without repetition, and factors of full rank of all users, none taken out."""
    same = {"own_user_out": False, "cooccurrence_rank": ITEMS}
    low, dense = model(**same).eval(), model(form="dense", **same).eval()
    dense.load_state_dict(low.state_dict())
    items, lengths, users = torch.tensor([[2, 5, 3, 9, 1]]), torch.tensor([5]), torch.tensor([0])
    ours, theirs = (built.encode(items, lengths, users).features for built in (low, dense))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_kernel_loss_is_the_mean_over_pairs():
    built = model(kernel_loss=1.0, unknown_user=0.0).train()
    items, users = torch.tensor([[1, 4, 1, 0]]), torch.tensor([0])
    pairs = built.pairs_of(items, users, with_kernel=True)
    factors = built.kernels.factors(built.network.items(items), users, pairs)
    errors = []
    for j, k in ((0, 1), (1, 0), (1, 2), (2, 1)):  # equal items and padding left out
        kc = pairs.kernel[0, j, k]
        errors.append(sum((factors[m][0, j] @ factors[m][0, k] - kc) ** 2 for m in ("item", "user")))
    penalty = built.encode(items, torch.tensor([3]), users).penalties["kernel_fit"]
    torch.testing.assert_close(penalty, torch.stack(errors).mean())
    penalty.backward()
    assert built.kernels.start.grad is None
    assert built.kernels.projections["item"].weight.grad.abs().sum() > 0


def test_the_latent_divergence_is_the_mean_over_rows_and_blocks_a_key():
    built = model(latent_divergence=1.0, prior_scale=0.4, unknown_user=0.0, blocks=2).train()
    items, lengths, users = torch.tensor([[1, 4, 1, 0], [2, 3, 5, 6]]), torch.tensor([3, 4]), torch.tensor([3, 0])
    torch.manual_seed(0)
    made = built.encode(items, lengths, users)
    torch.manual_seed(0)
    torch.rand(2)  # which users to hide; the second block sees the first one's draw
    read = built.network.read(items, users, built.pairs_of(items, users))
    assert read.correlation is not None
    whole = read.correlation.matrix()
    rows = [
        row_divergence(part.scale[b], part.shape[b], whole[b], 0.4)[t] / (t + 1)
        for part in read.latents
        for b in (0, 1)
        for t in range(int(lengths[b]))
    ]
    torch.testing.assert_close(made.penalties["latent_divergence"], torch.stack(rows).mean())
    assert "kernel_fit" not in made.penalties
    assert not built.eval().encode(items, lengths, users).penalties


def test_kernels_and_shape_learn_at_their_own_rate():
    built = model(kernel_lr_factor=7.0)
    optimiser = optimiser_of(config(), built)
    fast = {id(p) for group in optimiser.param_groups if group["lr_factor"] == 7.0 for p in group["params"]}
    named = {name for name, parameter in built.named_parameters() if id(parameter) in fast}
    assert named == {name for name, _ in built.named_parameters() if "kernels." in name or "attention.shape_" in name}


def test_observed_mixture():
    built = model()
    with torch.no_grad():
        built.kernels.of_user.zero_()
    figures = built.mixture_figures(torch.device("cpu"))
    assert figures["rksa/mixture_entropy_nats"] == pytest.approx(np.log(3))
    assert figures["rksa/one_relation_users"] == 0
    with torch.no_grad():
        built.kernels.start[1] = 10
    figures = built.mixture_figures(torch.device("cpu"))
    assert figures["rksa/one_relation_users"] == 1
    assert figures["rksa/mixture_item"] > 0.95


def test_many_events_keep_some_neighbours():
    many = EventStore(
        np.array([0, 10_000_001]),
        np.ones(10_000_001, np.int32),
        np.zeros(10_000_001, np.int64),
        np.zeros((1, 2), int),
        1,
    )
    assert most_neighbours_of(config(), many) == 128
    assert most_neighbours_of(config(most_neighbours=7), many) == 7
    assert most_neighbours_of(config(), cycles()) is None
    with pytest.raises(ValueError, match="dense"):
        most_neighbours_of(config(form="dense"), many)
