"""HCRNN's graphs compute what the network does, at every length and event by event."""

from pathlib import Path

import numpy as np
import pytest
import torch

from libs.models.hcrnn.cell import Version
from libs.models.hcrnn.export import servable
from libs.models.hcrnn.model import HcrnnModel, TrainMode
from libs.models.hcrnn.network import HCRNN
from libs.models.hcrnn.readout import Attention
from libs.models.sequences.graphs import export_history_graph, export_step_graph, initial_state
from libs.models.sequences.parity import run_steps
from libs.training.onnx_export import open_session

ITEMS, LONGEST = 20, 40


def model(version: Version = 3, attention: Attention = "bi", train_mode: TrainMode = "causal") -> HcrnnModel:
    torch.manual_seed(0)
    network = HCRNN(ITEMS, 8, 12, 4, version=version, attention=attention)
    return HcrnnModel(network, train_mode=train_mode).eval()


def histories(length: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded, the first row full, items repeated."""
    random = torch.Generator().manual_seed(length)
    lengths = torch.randint(1, length + 1, (rows,), generator=random)
    lengths[0] = length
    items = torch.randint(1, ITEMS + 1, (rows, length), generator=random)
    return items * (torch.arange(length) < lengths.unsqueeze(1)), lengths


@pytest.mark.parametrize(
    ("version", "attention", "train_mode"), [(3, "bi", "causal"), (1, "single", "causal"), (2, "bi", "prefix")]
)
@torch.no_grad()
def test_the_graph_is_the_network_at_every_length(
    version: Version, attention: Attention, train_mode: TrainMode, tmp_path: Path
) -> None:
    trained = model(version, attention, train_mode)
    served = servable(trained)
    export_history_graph(served.features, tmp_path / "model.onnx", served.inputs, ["features"], LONGEST)
    session = open_session(tmp_path / "model.onnx")
    for length in (1, 2, 3, 17, LONGEST):
        items, lengths = histories(length)
        everywhere = trained.encode(items, lengths, lengths).features
        expected = everywhere[torch.arange(len(items)), lengths - 1].numpy()
        (found,) = session.run(None, {"items": items.numpy(), "lengths": lengths.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-6)


@torch.no_grad()
def test_explanations_are_in_the_graph(tmp_path: Path) -> None:
    trained = model()
    served = servable(trained)
    assert served.explain is not None
    names = [spec.name for spec in served.explanations]
    assert names == ["drift", "temporary_attention", "local_attention", "local_context", "theta"]
    export_history_graph(served.explain, tmp_path / "explain.onnx", served.inputs, names, LONGEST)
    items, lengths = histories(7)
    found = open_session(tmp_path / "explain.onnx").run(names, {"items": items.numpy(), "lengths": lengths.numpy()})
    whole = trained.network.encode_causally(items, lengths)
    last = torch.arange(len(items)), lengths - 1
    assert whole.local_weights is not None
    expected = [
        whole.states.drift.mean(-1),
        whole.temporary_weights[last],
        whole.local_weights[last],
        whole.states.topic_weights[last],
        whole.theta[last],
    ]
    for name, one, other in zip(names, found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("version", "attention"), [(3, "bi"), (1, "single"), (2, "single")])
@torch.no_grad()
def test_event_by_event_equals_from_the_beginning(version: Version, attention: Attention) -> None:
    trained = model(version, attention)
    served = servable(trained)
    assert served.step is not None
    items, _ = histories(30)
    items = torch.where(items == 0, 1, items)
    state = initial_state(served.state, len(items))
    for position, item in enumerate(items.T, 1):
        features, *after = served.step(item, *state.values())
        state = dict(zip(state, after, strict=True))
        expected = served.features(items[:, :position], torch.full((len(items),), position))
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_graph_of_one_event_goes_on_for_thirty(tmp_path: Path) -> None:
    """With weights as large as training makes them, so that the bag of items met, the first included, tells."""
    large = model()
    for parameter in (*large.network.topics.parameters(), large.network.contexts, large.network.items.weight):
        parameter *= 5
    served = servable(large)
    assert served.step is not None
    export_step_graph(served.step, tmp_path / "step.onnx", served.state)
    items = histories(30, rows=2)[0].clamp_min(1)
    for position, found in enumerate(run_steps(open_session(tmp_path / "step.onnx"), served, items.numpy()), 1):
        expected = served.features(items[:, :position], torch.full((2,), position))
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


@torch.no_grad()
def test_shorter_sessions_of_a_batch_have_gaps_that_are_not_read() -> None:
    served = servable(model())
    assert served.step is not None
    alone = initial_state(served.state, 1, 2)
    gap = {name: torch.randn_like(value) if value.is_floating_point() else value for name, value in alone.items()}
    for name in ("bag", "local", "temporary"):
        gap[name] = torch.zeros_like(gap[name])
    wanted = served.step(torch.tensor([4]), *initial_state(served.state, 1).values())[0]
    torch.testing.assert_close(served.step(torch.tensor([4]), *gap.values())[0], wanted)


def test_the_prefix_mode_has_no_step() -> None:
    served = servable(model(train_mode="prefix"))
    assert served.step is None
    assert served.state == []
