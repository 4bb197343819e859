"""What a training starts from: windows of one target, and the weights of an earlier model."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.windows import read, windows_of
from libs.models.sequences.prepare import warm_started
from libs.models.sequences.recurrent import GRU4Rec
from libs.serving.bundle import Lineage, NextItemBundle, TensorSpec
from libs.training.bundles import BundleError
from libs.training.export import write_bundle
from libs.training.run import Inputs
from tests.support.events import events_folder, walks


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventData:
    return open_event_data(events_folder(tmp_path_factory.mktemp("events"), walks(users=8, items=5)))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("max_length", [1, 3, 20])
def test_single_targets_are_the_targets_of_all_windows(events: EventData, split: str, max_length: int) -> None:
    one = windows_of(events.events, split, max_length, single_targets=True)
    every = windows_of(events.events, split, max_length)
    assert len(one) == one.num_targets == every.num_targets
    batch = read(events.events, one)
    assert (batch.lengths <= max_length).all()
    assert ((batch.targets != 0).sum(1) == 1).all()
    for start, length, inputs, targets in zip(one.starts, one.lengths, batch.inputs, batch.targets, strict=True):
        history = events.events.items[start : start + length]
        assert inputs[: length - 1].tolist() == history[:-1].tolist()
        assert targets[length - 2] == history[-1]


def bundle_of(folder: Path, model: GRU4Rec, events: EventData, architecture: str = "gru4rec") -> Path:
    folder.mkdir()
    (folder / "items.parquet").write_bytes(events.items.path.read_bytes())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state, folder / "model.safetensors")
    spec = TensorSpec(name="features", datatype="FP32", shape=[-1, 8])
    bundle = NextItemBundle(
        architecture=architecture,
        inputs=[],
        outputs=[spec],
        items=5,
        width=8,
        max_length=5,
        exclude_seen=True,
        lineage=Lineage(method="gru4rec"),
    )
    write_bundle(folder, bundle)
    return folder


def test_weights_are_taken_over(events: EventData, tmp_path: Path) -> None:
    trained = GRU4Rec(5, 8)
    folder = bundle_of(tmp_path / "init", trained, events)
    started = warm_started(GRU4Rec(5, 8), "gru4rec", events, Inputs(models={"init": folder}))
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in started.state_dict().items())


def test_a_start_that_does_not_fit_is_refused(events: EventData, tmp_path: Path) -> None:
    wide = Inputs(models={"init": bundle_of(tmp_path / "wide", GRU4Rec(5, 12), events)})
    with pytest.raises(BundleError, match=r"do not fit the config: items.weight is \(6, 12\), expected \(6, 8\)"):
        warm_started(GRU4Rec(5, 8), "gru4rec", events, wide)
    other = Inputs(models={"init": bundle_of(tmp_path / "narm", GRU4Rec(5, 8), events, "narm")})
    with pytest.raises(BundleError, match="is a narm for next-item; this job trains a gru4rec"):
        warm_started(GRU4Rec(5, 8), "gru4rec", events, other)


def test_a_start_with_other_items_is_refused(events: EventData, tmp_path: Path) -> None:
    others = [(user, f"other-{item}", time) for user, item, time in walks(users=8, items=5)]
    data = open_event_data(events_folder(tmp_path / "events", others))
    inputs = Inputs(models={"init": bundle_of(tmp_path / "init", GRU4Rec(5, 8), events)})
    with pytest.raises(BundleError, match="knows other items than the data set"):
        warm_started(GRU4Rec(5, 8), "gru4rec", data, inputs)
