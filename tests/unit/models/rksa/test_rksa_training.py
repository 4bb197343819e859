"""A trained RKSA: what it names as its reason is one, and an interrupted training is the uninterrupted one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore
from libs.models.rksa.build import build_rksa
from libs.models.rksa.config import RksaConfig
from libs.models.rksa.explanation import Explainer
from libs.models.rksa.model import RksaModel
from libs.models.rksa.train import warnings_of
from libs.models.sequences.task import fit_sequences
from libs.training.history import History
from libs.training.local_run import LocalRun
from libs.training.run import Stopped, StopReason

WALK = 6


def two_walks(users: int = 40, length: int = 10) -> EventStore:
    """Users go round two circles of items in turn, so the next item follows from the last but one."""
    starts = np.random.default_rng(0).integers(0, WALK, (2, users, 1))
    steps = np.arange(length // 2)
    first, second = ((start + steps) % WALK + 1 for start in starts)
    items = np.stack([first, second + WALK], axis=2).reshape(-1).astype(np.int32)
    offsets = np.arange(users + 1, dtype=np.int64) * length
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), leave_last_out(offsets), 2 * WALK)


def config(**changes: object) -> RksaConfig:
    small = {"width": 12, "rank": 4, "cooccurrence_rank": 5, "blocks": 1, "dropout": 0.0, "max_length": 10}
    training = {"epochs": 25, "batch_size": 8, "lr": 0.02, "checkpoint_every_s": 86_400, "exclude_seen": False}
    return RksaConfig.model_validate({**small, **training, **changes})


def new(settings: RksaConfig, events: EventStore) -> RksaModel:
    torch.manual_seed(0)
    model = build_rksa(settings, events, seed=1)
    assert isinstance(model, RksaModel)
    return model


class StopsAt(LocalRun):
    """Stops when asked for the `stop_at`-th time."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder, seed=5, quiet=True)
        self.asked, self.stop_at = 0, stop_at

    def stop_reason(self) -> StopReason | None:
        self.asked += 1
        return "pause" if self.asked == self.stop_at else None


def scores(model: RksaModel, items: Tensor, users: Tensor) -> Tensor:
    """Of every item after histories of one length, [B, I + 1]."""
    made = model.encode(items, torch.full((len(items),), items.shape[1]), users)
    return made.features[:, -1] @ model.item_vectors.T


def test_without_the_named_item_the_score_changes_more_than_without_another(tmp_path: Path) -> None:
    events = two_walks()
    settings = config()
    model = new(settings, events)
    fit_sequences(model, events, settings, LocalRun(tmp_path, seed=1, quiet=True))
    model.eval().requires_grad_(False)
    items = torch.from_numpy(events.items.astype(np.int64)).reshape(events.num_users, -1)[:, :-1]
    count, length = items.shape
    users = torch.arange(1, count + 1)
    lengths = torch.full((count,), length)
    named = Explainer(model.network, length)(items, lengths, users, model.pairs_of(items, users)).weights.argmax(1)
    before, best = scores(model, items, users)[:, 1:].max(1)
    changed = torch.stack(
        [
            scores(model, torch.cat([items[:, :key], items[:, key + 1 :]], 1), users)[:, 1:].gather(1, best[:, None])
            for key in range(length)
        ]
    )  # [n, B, 1]
    change = (changed.squeeze(2).T - before[:, None]).abs()
    of_named = change.gather(1, named[:, None]).squeeze(1)
    of_another = (change.sum(1) - of_named) / (length - 1)
    assert of_named.mean() > 1.2 * of_another.mean()


def test_interrupted_is_bitwise_uninterrupted(tmp_path: Path) -> None:
    events = two_walks(users=12)
    settings = config(epochs=3, batch_size=4, objective="bce", kernel_loss=0.5, dropout=0.1, max_length=8)
    whole = new(settings, events)
    fit_sequences(whole, events, settings, StopsAt(tmp_path / "a"))
    with pytest.raises(Stopped):
        fit_sequences(new(settings, events), events, settings, StopsAt(tmp_path / "b", stop_at=5))
    resumed = new(settings, events)
    torch.manual_seed(99)
    fit_sequences(resumed, events, settings, StopsAt(tmp_path / "b"))
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


def test_relations_that_explain_nothing_are_told_with_the_settings_that_act_on_them() -> None:
    healthy = {"rksa/omega_median_0": 0.001, "rksa/omega_median_1": 0.2, "rksa/one_relation_users": 0.5}
    shares = {"rksa/mixture_item": 0.7, "rksa/mixture_user": 0.3, "rksa/mixture_entropy_nats": 9.0}
    history = History()
    history.record({**shares, **healthy}, step=1)
    assert warnings_of(history) == []
    history.record({"rksa/omega_median_1": 0.01, "rksa/one_relation_users": 0.96}, step=2)
    one_sided, flat = warnings_of(history)
    assert "96% of the users attend by one relation alone, mostly 'item'" in one_sided
    assert "Lower kernel_lr_factor" in one_sided
    assert "median omega 0.01 at most" in flat
    assert "give latent_divergence a weight" in flat
