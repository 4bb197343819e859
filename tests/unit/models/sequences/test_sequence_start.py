"""What a training starts from: windows of one target, and the weights of an earlier model."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.relations import save_tables
from libs.data.events.windows import read, windows_of
from libs.models.gru4rec.config import Gru4recConfig
from libs.models.rksa.build import build_rksa
from libs.models.rksa.config import RksaConfig
from libs.models.rksa.model import RksaModel
from libs.models.sequences.prepare import warm_started
from libs.models.sequences.recurrent import GRU4Rec
from libs.models.sequences.task import fit_sequences
from libs.serving.bundle import Lineage, NextItemBundle, TensorSpec, write_bundle
from libs.training.bundles import BundleError
from libs.training.local_run import LocalRun
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


def bundle_of(folder: Path, model: torch.nn.Module, events: EventData, architecture: str = "gru4rec") -> Path:
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


def start(
    model: GRU4Rec, events: EventData, inputs: Inputs, run: Path, architecture: str = "gru4rec", **config: Any
) -> GRU4Rec:
    settings = Gru4recConfig(width=8, **config)
    return warm_started(model, architecture, events, inputs, settings, LocalRun(run, quiet=True))


def test_weights_are_taken_over(events: EventData, tmp_path: Path) -> None:
    trained = GRU4Rec(5, 8)
    folder = bundle_of(tmp_path / "init", trained, events)
    started = start(GRU4Rec(5, 8), events, Inputs(models={"init": folder}), tmp_path / "run")
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in started.state_dict().items())


def test_a_start_that_does_not_fit_is_refused(events: EventData, tmp_path: Path) -> None:
    wide = Inputs(models={"init": bundle_of(tmp_path / "wide", GRU4Rec(5, 12), events)})
    with pytest.raises(BundleError, match=r"do not fit the config: items.weight is \(6, 12\), expected \(6, 8\)"):
        start(GRU4Rec(5, 8), events, wide, tmp_path / "run")
    other = Inputs(models={"init": bundle_of(tmp_path / "narm", GRU4Rec(5, 8), events, "narm")})
    with pytest.raises(BundleError, match="is a narm for next-item; this job trains a gru4rec"):
        start(GRU4Rec(5, 8), events, other, tmp_path / "run")


def test_a_start_with_other_items_altogether_is_refused(events: EventData, tmp_path: Path) -> None:
    others = [(user, f"other-{item}", time) for user, item, time in walks(users=8, items=5)]
    data = open_event_data(events_folder(tmp_path / "events", others))
    inputs = Inputs(models={"init": bundle_of(tmp_path / "init", GRU4Rec(5, 8), events)})
    with pytest.raises(BundleError, match="knows none of the data set's 5 items by id"):
        start(GRU4Rec(5, 8), data, inputs, tmp_path / "run")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> EventData:
    """Without i0, with a new item between any two others."""
    walk = [(user, "new" if item == "i0" else item, time) for user, item, time in walks(users=12, items=5)]
    return open_event_data(events_folder(tmp_path_factory.mktemp("newer"), walk))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_go_on_by_id(events: EventData, newer: EventData, tmp_path: Path, tied: bool) -> None:
    trained = GRU4Rec(5, 8, tied=tied)
    inputs = Inputs(models={"init": bundle_of(tmp_path / "init", trained, events)})
    started = start(GRU4Rec(5, 8, tied=tied), newer, inputs, tmp_path / "run").state_dict()
    before, after = events.items.all_ids(), newer.items.all_ids()
    for table in ("items.weight", "outputs.weight"):
        old = trained.state_dict()[table]
        for number, item in enumerate(after, 1):
            if item != "new":
                assert torch.equal(started[table][number], old[before.index(item) + 1])
        assert started[table][after.index("new") + 1].abs().sum() > 0
        assert not started[table][0].any()
    assert torch.equal(started["recurrent.weight_hh_l0"], trained.state_dict()["recurrent.weight_hh_l0"])


def test_users_go_on_by_id_and_those_that_nothing_taught_as_the_unknown_one(tmp_path: Path) -> None:
    """Of "short" one event was for training, which is nobody's target: the row is as it was drawn."""
    walk = [("long", f"i{step}", 10**9 + step) for step in range(4)] + [
        ("both", f"i{step}", 10**9) for step in range(4)
    ]
    short = [("short", f"i{step}", 10**9 + step) for step in range(3)]
    earlier = open_event_data(events_folder(tmp_path / "earlier", [*walk, *short], cold_items="keep"))
    more = [("short", "i3", 10**9 + 9), *(("a new one", f"i{step}", 10**9 + step) for step in range(4))]
    later = open_event_data(events_folder(tmp_path / "later", [*walk, *short, *more], cold_items="keep"))
    config = RksaConfig(width=8, rank=2, cooccurrence_rank=2, max_length=5, blocks=1)
    trained, fresh = (build_rksa(config, data.events, seed=1) for data in (earlier, later))
    assert isinstance(trained, RksaModel)
    folder = bundle_of(tmp_path / "init", trained, earlier, "rksa")
    save_tables(trained.tables, pl.Series(earlier.users.all_ids()), folder)
    run = LocalRun(tmp_path / "run", quiet=True)
    started = warm_started(fresh, "rksa", later, Inputs(models={"init": folder}), config, run).state_dict()
    name = "network.kernels.users.weight"
    found, table = started[name], trained.state_dict()[name]
    before, after = earlier.users.all_ids(), later.users.all_ids()
    for user, row in {
        "long": before.index("long") + 1,
        "both": before.index("both") + 1,
        "short": 0,
        "a new one": 0,
    }.items():
        assert torch.equal(found[after.index(user) + 1], table[row]), user
    assert torch.equal(found[0], table[0])


def test_frozen_backbone_trains_new_items_alone(events: EventData, newer: EventData, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    trained = GRU4Rec(5, 8)
    inputs = Inputs(models={"init": bundle_of(tmp_path / "init", trained, events)})
    config = Gru4recConfig(width=8, epochs=2, lr=0.1, freeze="backbone", clip_grad_norm=1.0)
    run = LocalRun(tmp_path / "run", quiet=True)
    model = warm_started(GRU4Rec(5, 8), "gru4rec", newer, inputs, config, run)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit_sequences(model, newer.events, config, run)
    new = newer.items.all_ids().index("new") + 1
    for name, tensor in model.state_dict().items():
        changed = (tensor != before[name]).flatten(1).any(1).nonzero().flatten().tolist() if tensor.dim() > 1 else []
        assert changed == ([new] if name in ("items.weight", "outputs.weight") else []), name
        assert tensor.dim() > 1 or torch.equal(tensor, before[name])


def test_freezing_needs_something_to_train(events: EventData, tmp_path: Path) -> None:
    inputs = Inputs(models={"init": bundle_of(tmp_path / "init", GRU4Rec(5, 8), events)})
    with pytest.raises(DataError, match="knows every item of the data set"):
        start(GRU4Rec(5, 8), events, inputs, tmp_path / "run", freeze="backbone")
    with pytest.raises(DataError, match="name that model as `init`"):
        start(GRU4Rec(5, 8), events, Inputs(), tmp_path / "run", freeze="backbone")
    with pytest.raises(ValidationError, match="set weight_decay to 0"):
        Gru4recConfig(freeze="backbone", weight_decay=0.1)
