from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from libs.data.events.dataset import open_event_data
from libs.data.events.store import EventStore
from libs.models.bpr_mf.config import BprMfConfig
from libs.models.bpr_mf.network import BprMf, MeanOfHistory, users_with_training
from libs.models.bpr_mf.train import train
from libs.models.sequences.losses import bpr_loss
from libs.training.local_run import LocalRun
from libs.training.run import Inputs
from tests.support.events import events_folder

KNOWN = torch.tensor([False, True, False, True])


def model() -> BprMf:
    torch.manual_seed(0)
    return BprMf(MeanOfHistory(5, 4), KNOWN)


@pytest.mark.parametrize("training", [True, False])
def test_known_users_are_their_vector_and_others_the_mean_of_what_they_met(training: bool) -> None:
    network = model().train(training)
    items = torch.tensor([[1, 2, 3], [4, 4, 0], [5, 1, 0]])
    features = network.encode(items, torch.tensor([3, 2, 2]), torch.tensor([1, 2, 0])).features
    vectors = network.item_vectors
    for place in range(3):
        assert torch.equal(features[0, place], network.users.weight[1])
    assert torch.allclose(features[1, 1], vectors[4])
    assert torch.allclose(features[2, 1], (vectors[5] + vectors[1]) / 2)


def test_what_comes_later_changes_nothing_before() -> None:
    network = model().eval()
    one, other = (
        network.history.encode(torch.tensor([[1, 2, last]]), torch.tensor([3]), torch.tensor([0])) for last in (3, 4)
    )
    assert torch.equal(one.features[:, :2], other.features[:, :2])


def test_bpr_is_the_log_probability_of_the_right_order() -> None:
    features, items = torch.randn(3, 4), torch.randn(6, 4)
    positives, negatives = torch.tensor([1, 2, 3]), torch.tensor([[4, 5], [5, 1], [1, 2]])
    expected = [
        -F.logsigmoid(features[t] @ (items[positives[t]] - items[negatives[t, m]])) for t in range(3) for m in range(2)
    ]
    assert bpr_loss(features, items, positives, negatives) == pytest.approx(float(torch.stack(expected).mean()))


def test_it_learns_what_groups_of_people_like(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{item + 10 * (user % 2)}", 10**9 + 60 * step)
        for user in range(40)
        for step, item in enumerate(random.permutation(10)[:7].tolist())
    ]
    folder = events_folder(tmp_path / "data", events)
    config = BprMfConfig(epochs=60, batch_size=16, lr=0.02, width=8, max_length=10)
    outcome = train(config, Inputs({"train": folder}), LocalRun(tmp_path / "run", quiet=True))
    with_users = outcome.details["user_vectors"]
    # 4 items of one's own group are left: whoever knows the group ranks the held-out one 2.5th in the mean
    assert with_users["test/hr@5"] > 0.9
    assert outcome.metrics["test/hr@5"] > 0.9
    assert outcome.metrics["baseline/popularity/test/hr@5"] < 0.7
    known = users_with_training(open_event_data(folder).events)
    assert known.tolist() == [False] + [True] * 40


def test_who_has_a_single_training_event_has_no_vector() -> None:
    offsets = np.array([0, 1, 3, 5], np.int64)
    ends = np.array([[1, 1], [3, 3], [3, 5]])
    events = EventStore(offsets, np.ones(5, np.int32), np.arange(5, dtype=np.int64), ends, 2)
    assert users_with_training(events).tolist() == [False, False, True, False]
