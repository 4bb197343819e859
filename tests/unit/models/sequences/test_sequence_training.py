import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from libs.data.errors import DataError
from libs.data.events.splits import by_user, leave_last_out
from libs.data.events.store import EventStore
from libs.data.events.windows import read
from libs.models.hcrnn.config import HcrnnConfig
from libs.models.hcrnn.model import HcrnnModel
from libs.models.hcrnn.network import HCRNN
from libs.models.hcrnn.train import build_model, phases_of
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import ModelScorer, RankingMeasurer
from libs.models.sequences.ranking import Popularity, ranks_of
from libs.models.sequences.recurrent import NARM, GRU4Rec
from libs.models.sequences.step import Features
from libs.models.sequences.task import SequenceTask, fit_sequences
from libs.training.local_run import LocalRun
from libs.training.precision import precision_for
from libs.training.processes import Processes
from libs.training.randomness import prepare_randomness
from libs.training.run import CheckpointError, LogLevel, Stopped, StopReason
from libs.training.session import TrainingSession

ITEMS = 9


class StopsAt(LocalRun):
    """Stops when asked for the `stop_at`-th time."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder, seed=5, quiet=True)
        self.asked, self.stop_at = 0, stop_at

    def stop_reason(self) -> StopReason | None:
        self.asked += 1
        return "pause" if self.asked == self.stop_at else None


def cycles(users: int = 40, held_out: str = "last") -> EventStore:
    """Every user walks round the items, from a place of their own, for a while of their own."""
    random = np.random.default_rng(0)
    lengths = random.integers(4, 9, users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts = random.integers(0, ITEMS, users)
    items = np.concatenate([(start + np.arange(n)) % ITEMS + 1 for start, n in zip(starts, lengths, strict=True)])
    ends = leave_last_out(offsets) if held_out == "last" else by_user(offsets, (0.2, 0.2), seed=0)
    return EventStore(offsets, items.astype(np.int32), np.arange(len(items), dtype=np.int64), ends, ITEMS)


def config(**changes: Any) -> SequenceTrainingConfig:
    fields = {"epochs": 3, "batch_size": 8, "lr": 0.02, "max_length": 6, "checkpoint_every_s": 86_400, **changes}
    return SequenceTrainingConfig.model_validate(fields)


def model(kind: str = "gru") -> torch.nn.Module:
    prepare_randomness(3, deterministic=True)
    if kind == "hcrnn":
        return HcrnnModel(HCRNN(ITEMS, 12, 12, 3, input_dropout=0.1, output_dropout=0.1))
    return NARM(ITEMS, 12) if kind == "narm" else GRU4Rec(ITEMS, 12, dropout=0.1)


@pytest.mark.parametrize("kind", ["gru", "narm", "hcrnn"])
@pytest.mark.parametrize("changes", [{}, {"objective": "bce", "negatives": 3}, {"objective": "gbce", "negatives": 4}])
def test_it_learns_the_cycle(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    run = LocalRun(tmp_path, seed=1, quiet=True)
    fitted = fit_sequences(model(kind), cycles(), config(epochs=30, exclude_seen=False, **changes), run)
    assert fitted.test is not None
    assert len(fitted.test.ranks) == 40
    assert float((fitted.test.ranks <= 2).double().mean()) > 0.9
    assert run.latest("train/next_item") < run.metrics[0][1]


@pytest.mark.parametrize("kind", ["gru", "hcrnn"])
@pytest.mark.parametrize("stop_at", [2, 5, 9])
def test_interrupted_is_bitwise_uninterrupted(kind: str, stop_at: int, tmp_path: Path) -> None:
    settings = config(objective="bce", accumulate=2)
    whole = model(kind)
    fit_sequences(whole, cycles(), settings, StopsAt(tmp_path / "a"))
    with pytest.raises(Stopped):
        fit_sequences(model(kind), cycles(), settings, StopsAt(tmp_path / "b", stop_at))
    resumed = model(kind)
    torch.manual_seed(99)
    fit_sequences(resumed, cycles(), settings, StopsAt(tmp_path / "b"))
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


@pytest.mark.parametrize(
    ("train_mode", "update"), [("prefix", "joint"), ("causal", "two_phase"), ("prefix", "two_phase")]
)
def test_hcrnn_interrupted_is_bitwise_uninterrupted(train_mode: str, update: str, tmp_path: Path) -> None:
    settings = hcrnn_config(train_mode=train_mode, update=update)

    def fit(run: LocalRun, network: HcrnnModel) -> Mapping[str, torch.Tensor]:
        fit_sequences(network, cycles(12), settings, run, network.network.project, phases_of(network, settings))
        return network.state_dict()

    whole = fit(StopsAt(tmp_path / "a"), hcrnn(settings))
    with pytest.raises(Stopped):
        fit(StopsAt(tmp_path / "b", 5), hcrnn(settings))
    network = hcrnn(settings)
    torch.manual_seed(99)
    for name, value in fit(StopsAt(tmp_path / "b"), network).items():
        assert torch.equal(value, whole[name]), name


def test_the_first_phase_steps_the_topic_encoder_alone(tmp_path: Path) -> None:
    settings = hcrnn_config(update="two_phase")
    network = hcrnn(settings)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, others = network.two_phases()
    task = SequenceTask(cycles(12), settings, LocalRun(tmp_path, quiet=True), Processes())
    session = TrainingSession(
        task.step(network),
        settings,
        torch.device("cpu"),
        Processes(),
        3,
        monitor="ndcg@10",
        phases=[first],
    )
    session.optimise(*next(task.batches(0, 0)))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("network.topics.") for name in changed)
    assert len(first) + len(others) == len(list(network.parameters()))


def test_a_checkpoint_from_before_targets_weighed_alike_is_refused(tmp_path: Path) -> None:
    """It would else go on under another loss than it began with."""
    settings = config(epochs=2)
    with pytest.raises(Stopped):
        fit_sequences(GRU4Rec(ITEMS, 12), cycles(), settings, StopsAt(tmp_path, stop_at=2))
    run = StopsAt(tmp_path)
    state = run.load_checkpoint()
    assert state is not None
    run.save_checkpoint(state["step"] + 1, {**state, "depends_on": {}})
    with pytest.raises(CheckpointError, match="another weighing of targets; start a new job"):
        fit_sequences(GRU4Rec(ITEMS, 12), cycles(), settings, run)


class Penalised(GRU4Rec):
    """With a penalty that is a mean over positions, as that of topics is."""

    penalty_weights = MappingProxyType({"size": 0.7})

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features, and their mean square."""
        made = super().encode(items, lengths, users).features
        return Features(made, {"size": made[items != 0].square().mean()})


def test_reported_are_means_over_targets_however_long_the_histories_are(tmp_path: Path) -> None:
    """Of an untrained model about log(items), whatever the batch."""
    task = SequenceTask(cycles(), config(batch_size=4), LocalRun(tmp_path, quiet=True), Processes())
    step = task.step(GRU4Rec(ITEMS, 12, dropout=0.0))
    outputs = [step(*batch) for batch in task.batches(0, 0)]
    assert len({output.scale for output in outputs}) > 1
    for output in outputs:
        assert output.losses["next_item"].item() == pytest.approx(math.log(ITEMS), rel=0.1)


@pytest.mark.parametrize("batch_size", [3, 7, 64])
def test_every_target_weighs_alike_whatever_batch_it_is_in(batch_size: int, tmp_path: Path) -> None:
    """Batches are sorted by length; the gradient of all of them is that of the mean over all targets, penalties too."""
    settings = config(batch_size=batch_size)
    network = Penalised(ITEMS, 12, dropout=0.0).double()
    task = SequenceTask(cycles(), settings, LocalRun(tmp_path, quiet=True), Processes())
    step, windows = task.step(network), len(task.windows)
    for batch in task.batches(0, 0):
        (step(*batch).total * len(batch[0]) / windows).backward()
    found = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    everything = read(task.events, task.windows)
    inputs, targets = torch.from_numpy(everything.inputs), torch.from_numpy(everything.targets)
    features = network(inputs)[targets > 0]
    fit = torch.nn.functional.cross_entropy(features @ network.item_vectors[1:].T, targets[targets > 0] - 1)
    (fit + Penalised.penalty_weights["size"] * features.square().mean()).backward()
    for expected, gradient in zip(network.parameters(), found, strict=True):
        assert expected.grad is not None
        torch.testing.assert_close(gradient, expected.grad, rtol=1e-9, atol=1e-12)


def test_micro_batches_of_unequal_lengths_add_up(tmp_path: Path) -> None:
    task = SequenceTask(cycles(), config(batch_size=32), LocalRun(tmp_path, quiet=True), Processes())
    network = GRU4Rec(ITEMS, 12, dropout=0.0).double()
    batch = next(task.batches(0, 0))
    whole = task.step(network)(*batch).total
    parts = [tuple(part[some] for part in batch) for some in (slice(0, 5), slice(5, 32))]
    shares = [len(part[0]) / len(batch[0]) for part in parts]
    steps = [task.step(network)(*part).total.item() for part in parts]
    together = sum(share * loss for share, loss in zip(shares, steps, strict=True))
    assert together == pytest.approx(whole.item(), rel=1e-12)


def test_the_prefix_mode_learns_the_cycle(tmp_path: Path) -> None:
    settings = hcrnn_config(train_mode="prefix", epochs=12, exclude_seen=False)
    network = hcrnn(settings)
    fitted = fit_sequences(network, cycles(), settings, LocalRun(tmp_path, quiet=True), network.network.project)
    assert fitted.test is not None
    assert float((fitted.test.ranks <= 2).double().mean()) > 0.9


def hcrnn_config(**changes: Any) -> HcrnnConfig:
    fields = {"topics": 3, "item_dim": 12, "hidden_dim": 12, "input_dropout": 0.1, "output_dropout": 0.1, **changes}
    return HcrnnConfig.model_validate(config().model_dump() | fields)


def hcrnn(settings: HcrnnConfig) -> HcrnnModel:
    prepare_randomness(3, deterministic=True)
    return build_model(settings, ITEMS)


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("held_out", ["last", "users"])
def test_ranks_are_those_of_one_case_at_a_time(exclude_seen: bool, held_out: str) -> None:
    events = cycles(held_out=held_out)
    network = model().eval()
    measure = RankingMeasurer(events, "test", config(batch_size=4, exclude_seen=exclude_seen), "cpu")
    ranked = measure(ModelScorer(network, precision_for("off", torch.device("cpu")), "cpu"))
    expected = []
    for user in range(events.num_users):
        first, last = events.offsets[user], events.offsets[user + 1]
        for row in range(max(events.ends[user, 1], first + 1), last):
            windows = [w for w in range(len(measure.windows)) if covers(measure, w, row)]
            assert len(windows) == 1
            start = measure.windows.starts[windows[0]]
            history = torch.from_numpy(events.items[start:row].astype(np.int64)).unsqueeze(0)
            scores = network(history)[:, -1] @ network.item_vectors.T
            seen = torch.from_numpy(events.items[first:row].astype(np.int64)).unsqueeze(0) if exclude_seen else None
            expected.append(
                (int(events.items[row]), float(ranks_of(scores, torch.tensor([events.items[row]]), excluded=seen)))
            )
    assert sorted(expected) == sorted(zip(ranked.targets.tolist(), ranked.ranks.tolist(), strict=True))
    assert ranked.cold.all() == (held_out == "users")


def covers(measure: RankingMeasurer, window: int, row: int) -> bool:
    windows = measure.windows
    start = windows.starts[window]
    return bool(start + windows.first_targets[window] <= row < start + windows.lengths[window])


def test_figures_say_what_they_are_of(tmp_path: Path) -> None:
    events = cycles()
    run = LocalRun(tmp_path, quiet=True)
    task = SequenceTask(events, config(), run, Processes())
    ranked = task.measure("val", torch.nn.ModuleDict({"model": model()}))
    assert ranked is not None
    figures = ranked.figures(Popularity(torch.from_numpy(events.training_counts())))
    assert {"hr@10", "ndcg@10", "mrr@20", "coverage@10", "novelty_bits@10", "popular/hr@10"} <= figures.keys()
    assert not any(name.startswith("cold_users") for name in figures)
    assert task.measure("test", torch.nn.ModuleDict({"model": model()})) is not None


class Listening(LocalRun):
    """Keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, quiet=True)
        self.said: list[str] = []

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        self.said.append(message)


def test_a_training_without_validation_says_what_it_does_without(tmp_path: Path) -> None:
    events = cycles(8)
    everything = replace(events, ends=np.stack([events.offsets[1:], events.offsets[1:]], axis=1))
    run = Listening(tmp_path / "all")
    fitted = fit_sequences(model(), everything, config(epochs=1), run)
    assert (fitted.val, fitted.test) == (None, None)
    assert any("no event is held out for validation" in message for message in run.said)
    run = Listening(tmp_path / "some")
    fit_sequences(model(), events, config(epochs=1), run)
    assert not any("held out" in message for message in run.said)


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    offsets = np.array([0, 1, 2], np.int64)
    events = EventStore(offsets, np.array([1, 2], np.int32), np.zeros(2, np.int64), leave_last_out(offsets), 2)
    with pytest.raises(DataError, match="no next item to learn"):
        fit_sequences(model(), events, config(), LocalRun(tmp_path, quiet=True))
