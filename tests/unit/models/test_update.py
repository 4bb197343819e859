"""The task `update`: a tiny GRU goes on with newer events, whose items are partly new."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from libs.data.errors import DataError
from libs.data.events.dataset import open_event_data
from libs.jobs.tasks import TASKS, EvaluateConfig
from libs.models.catalog import METHODS
from libs.models.sequences.served import measure_served, read_next_item, rules_of
from libs.models.update import caution_of
from libs.models.update_config import UpdateConfig
from libs.registry.gates import check_gates, first_failure
from libs.training.bundles import BundleError
from libs.training.local_run import LocalRun
from libs.training.run import Inputs, Outcome, Stopped, StopReason
from tests.support.bundles import make_bundle
from tests.support.events import Event, events_folder, walks

EARLIER = walks(users=60, items=8)
SETTINGS = {"width": 8, "epochs": 12, "lr": 0.03, "max_length": 8, "batch_size": 16, "exclude_seen": False}


def newer() -> list[Event]:
    """The same round with another item where i0 was."""
    return [(user, "new" if item == "i0" else item, time) for user, item, time in walks(users=60, items=8)]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A model of the earlier events, and what its training said."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("parent")
    data = events_folder(folder / "events", EARLIER)
    config = METHODS["gru4rec"].config.model_validate(SETTINGS)
    outcome = METHODS["gru4rec"].load()(config, Inputs({"train": data}), LocalRun(folder / "run", seed=1, quiet=True))
    return data, outcome


def update(folder: Path, events: Path, parent: Path, **config: Any) -> Outcome:
    asked = UpdateConfig.model_validate(config)
    return TASKS["update"].load()(asked, Inputs({"train": events}, {"init": parent}), LocalRun(folder, quiet=True))


def test_served_figures_are_those_of_the_training(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    events, outcome = parent
    assert outcome.bundle is not None
    data = open_event_data(events)
    rules = rules_of(read_next_item(outcome.bundle), batch_size=7)
    served = measure_served(outcome.bundle, data, "test", rules, LocalRun(tmp_path, quiet=True))
    assert (served.unknown_items, served.unknown_targets) == (0, 0)
    ranks = served.ranked.ranks
    assert outcome.metrics["test/hr@5"] == pytest.approx(float((ranks <= 5).double().mean()), abs=1e-12)
    assert outcome.metrics["test/ndcg@10"] == pytest.approx(float((1 / torch.log2(1 + ranks)).mean()), abs=1e-9)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluate_measures_what_the_training_measured(parent: tuple[Path, Outcome], tmp_path: Path, split: str) -> None:
    events, trained = parent
    assert trained.bundle is not None
    inputs = Inputs({"data": events}, {"model": trained.bundle})
    outcome = TASKS["evaluate"].load()(EvaluateConfig(split=split), inputs, LocalRun(tmp_path, quiet=True))
    expected = {name: value for name, value in trained.metrics.items() if f"{split}/" in name}
    assert outcome.metrics.keys() >= expected.keys()
    assert {name: outcome.metrics[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert outcome.details["held_out_events"] == 60
    assert outcome.report is not None
    assert json.loads((outcome.report / "report.json").read_text())["metrics"] == outcome.metrics
    assert "which knows 8 items" in (outcome.report / "report.html").read_text()


def test_evaluate_says_how_much_the_model_does_not_know(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    _, trained = parent
    assert trained.bundle is not None
    inputs = Inputs({"data": events_folder(tmp_path / "events", newer())}, {"model": trained.bundle})
    outcome = TASKS["evaluate"].load()(EvaluateConfig(), inputs, LocalRun(tmp_path / "run", quiet=True))
    assert outcome.details["items_unknown_to_the_model"] == 1
    found = 1 - outcome.details["held_out_events_of_unknown_items"] / outcome.details["held_out_events"]
    assert 0 < outcome.metrics["test/hr@20"] <= found < 1
    with pytest.raises(DataError, match="one of train, val and test, not on 'all'"):
        TASKS["evaluate"].load()(EvaluateConfig(split="all"), inputs, LocalRun(tmp_path / "all", quiet=True))


def test_an_update_learns_new_items_and_is_registered_beside_its_parent(
    parent: tuple[Path, Outcome], tmp_path: Path
) -> None:
    _, trained = parent
    assert trained.bundle is not None
    events = events_folder(tmp_path / "events", newer())
    outcome = update(tmp_path / "run", events, trained.bundle, lr_share=1.0, epochs=6)
    assert outcome.bundle is not None
    child, before = read_next_item(outcome.bundle), read_next_item(trained.bundle)
    assert child.lineage.method == "gru4rec"
    assert child.lineage.config == {**before.lineage.config, "epochs": 6, "lr": 0.03}
    compared = child.against_parent
    assert compared is not None
    assert compared.passed
    assert compared.figure == "test/ndcg@10"
    assert compared.child > compared.parent
    assert compared.child == pytest.approx(outcome.metrics["test/ndcg@10"], abs=1e-9)
    assert compared.parent == outcome.metrics["parent/test/ndcg@10"]
    assert first_failure(check_gates(child)) is None
    assert "at least" in check_gates(child)["parent"].detail
    assert outcome.details["items_new_to_the_parent"] == 1
    assert outcome.report is not None
    assert json.loads((outcome.report / "update.json").read_text())["against_parent"] == compared.model_dump()
    ids = pl.read_parquet(outcome.bundle / "items.parquet")["id"].to_list()
    assert "new" in ids
    assert "i0" not in ids


def test_unknown_items_are_never_found_and_left_out_of_histories(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    """The parent's ranks on newer events, one history at a time."""
    _, trained = parent
    assert trained.bundle is not None
    data = open_event_data(events_folder(tmp_path / "events", [*newer(), *only_new()]))
    rules = rules_of(read_next_item(trained.bundle))
    served = measure_served(trained.bundle, data, "test", rules, LocalRun(tmp_path / "run", quiet=True))
    table = pl.read_parquet(trained.bundle / "items.parquet")
    known, counts = table["id"].to_list(), np.concatenate([[0], table["training_count"].to_numpy()])
    session = onnxruntime.InferenceSession(trained.bundle / "model.onnx", providers=["CPUExecutionProvider"])
    vectors, ids = np.load(trained.bundle / "item_vectors.npy"), data.items.all_ids()
    unknown = 0
    for row, target, rank in zip(served.ranked.rows, served.ranked.targets, served.ranked.ranks, strict=True):
        if ids[int(target) - 1] not in known:
            unknown += 1
            assert rank == float("inf")
            continue
        user = int(np.searchsorted(data.events.offsets, int(row), side="right")) - 1
        history = [ids[item - 1] for item in data.events.items[data.events.offsets[user] : int(row)]][-8:]
        numbers = [known.index(item) + 1 for item in history if item in known]
        in_both = [known.index(item) + 1 for item in ids if item in known]
        scores = counts  # nothing known: what is popular
        if numbers:
            inputs = {"items": np.array([numbers]), "lengths": np.array([len(numbers)])}
            scores = (session.run(["features"], inputs)[0] @ vectors.T)[0]
        wanted = scores[known.index(ids[int(target) - 1]) + 1]
        expected = 1 + sum(scores[item] > wanted for item in in_both) + (sum(scores[in_both] == wanted) - 1) / 2
        assert float(rank) == pytest.approx(expected)
    assert served.unknown_targets == unknown > 0


def only_new() -> list[Event]:
    """Somebody who met nothing but items of no model, and then a known one."""
    items = ["new", "new", "new", "i3"]
    return [("stranger", item, 1_000_000_000 + step) for step, item in enumerate(items)]


def test_a_worse_child_is_rejected(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    events, trained = parent
    assert trained.bundle is not None
    outcome = update(tmp_path, events, trained.bundle, epochs=1, lr_share=10.0, config={"lr": 5.0}, tolerance=0.05)
    assert outcome.bundle is not None
    child = read_next_item(outcome.bundle)
    assert child.against_parent is not None
    assert child.against_parent.child < 0.95 * child.against_parent.parent
    failure = first_failure(check_gates(child))
    assert failure is not None
    assert failure.startswith("parent: test/ndcg@10 is")


def test_what_cannot_be_updated_is_said_before_training(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    events, trained = parent
    assert trained.bundle is not None
    with pytest.raises(ValidationError, match="no_such"):
        update(tmp_path / "a", events, trained.bundle, config={"no_such": 1})
    make_bundle(tmp_path / "classifier")
    with pytest.raises(BundleError, match="classifies pictures"):
        update(tmp_path / "b", events, tmp_path / "classifier")
    others = events_folder(tmp_path / "o", [(user, f"x{item}", time) for user, item, time in EARLIER])
    with pytest.raises(DataError, match="knows none of the data set's 8 items"):
        update(tmp_path / "c", others, trained.bundle)


def test_users_dealt_anew_are_a_caution(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    events, trained = parent
    assert trained.bundle is not None
    bundle = read_next_item(trained.bundle)
    assert caution_of(bundle, open_event_data(events)) is None
    by_user = open_event_data(events_folder(tmp_path, EARLIER, split="by-user"))
    assert "split by leave-last-out or by-time instead" in (caution_of(bundle, by_user) or "")
    same = bundle.lineage.model_copy(update={"dataset_digests": {"train": by_user.manifest.digest}})
    assert caution_of(bundle.model_copy(update={"lineage": same}), by_user) is None


class Interrupted(LocalRun):
    """Is told to stop when it is asked for the `stop_at`-th time."""

    def __init__(self, folder: Path, stop_at: int) -> None:
        super().__init__(folder, quiet=True)
        self._asked, self._stop_at = 0, stop_at

    def stop_reason(self) -> StopReason | None:
        self._asked += 1
        return "shutdown" if self._asked == self._stop_at else None


def test_an_interrupted_update_goes_on_to_the_same_weights(parent: tuple[Path, Outcome], tmp_path: Path) -> None:
    _, trained = parent
    assert trained.bundle is not None
    inputs = Inputs({"train": events_folder(tmp_path / "events", newer())}, {"init": trained.bundle})
    config = UpdateConfig(epochs=2)
    task = TASKS["update"].load()
    whole = task(config, inputs, LocalRun(tmp_path / "whole", quiet=True))
    with pytest.raises(Stopped):
        task(config, inputs, Interrupted(tmp_path / "parts", stop_at=9))  # in the second epoch
    assert list((tmp_path / "parts" / "checkpoints").iterdir())
    resumed = task(config, inputs, LocalRun(tmp_path / "parts", quiet=True))
    assert whole.bundle is not None
    assert resumed.bundle is not None
    first, second = ((bundle / "model.safetensors").read_bytes() for bundle in (whole.bundle, resumed.bundle))
    assert first == second
    assert resumed.metrics == whole.metrics


def test_frozen_updates_are_not_decayed() -> None:
    config = UpdateConfig(freeze="backbone").of_parent("gru4rec", {"weight_decay": 0.1, "lr": 0.01, "max_steps": 5})
    assert (config.weight_decay, config.lr, config.max_steps, config.freeze) == (0.0, 0.001, None, "backbone")
