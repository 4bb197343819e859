import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from libs.data.recipe import Recipe
from libs.data.write import write_arrays_dataset
from libs.models.catalog import METHODS
from libs.training.config import ImageTrainingConfig
from libs.training.optimisers import optimiser_of, set_learning_rate
from tests.support.events import events_folder, walks
from tests.support.teachers import nearest_mean_network, write_teacher

ROOT = Path(__file__).parents[3]


def trained(optimiser_for, steps: int = 5) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimiser = optimiser_for(network)
    inputs = torch.randn(16, 4)
    for _ in range(steps):
        network(inputs).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return network.state_dict(), optimiser


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (
            {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
            lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        ),
        (
            {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
            lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, weight_decay=0.1, fused=True),
        ),
        (
            {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.0, "adam_beta2": 0.9},
            lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, betas=(0.9, 0.9), weight_decay=0.0, fused=True),
        ),
    ],
)
def test_steps_and_state_are_those_of_torch(settings, reference) -> None:
    config = ImageTrainingConfig.model_validate(settings)
    ours, optimiser = trained(lambda module: optimiser_of(config, module))
    theirs, expected = trained(reference)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    state = optimiser.state_dict()
    assert [group.pop("lr_factor") for group in state["param_groups"]] == [1.0]
    assert str(state) == str(expected.state_dict())


def test_parts_of_a_module_may_learn_faster() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    inner.lr_factors = {"1.*": 5.0}  # type: ignore[assignment]
    network = nn.Sequential(nn.Linear(2, 2), inner)
    optimiser = optimiser_of(ImageTrainingConfig(lr=0.1), network)
    set_learning_rate(optimiser, 0.5)
    rates = {id(parameter): group["lr"] for group in optimiser.param_groups for parameter in group["params"]}
    expected = {name: 2.5 if name.startswith("1.1.") else 0.5 for name, _ in network.named_parameters()}
    assert {name: rates[id(parameter)] for name, parameter in network.named_parameters()} == expected


def test_frozen_parameters_are_left_out_and_the_rate_reaches_every_group() -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    optimiser = optimiser_of(ImageTrainingConfig(), network)
    assert [len(group["params"]) for group in optimiser.param_groups] == [1]
    set_learning_rate(optimiser, 0.25)
    assert optimiser.param_groups[0]["lr"] == 0.25


def test_the_first_step_waits_for_no_slow_import(tmp_path: Path) -> None:
    """What a job needs before its first step: torch, but neither its compiler nor the libraries of later stages."""
    program = """
import sys
from pathlib import Path
from libs.models.catalog import METHODS
from libs.training.run import Inputs

class Reached(BaseException):
    pass

class Run:
    seed, device = 0, "cpu"
    def metric(self, name, value, step): raise Reached
    def progress(self, fraction, note=""): pass
    def log(self, message, level="info", **fields): pass
    def stop_reason(self): pass
    def load_checkpoint(self): pass

Run.folder = Path(sys.argv[1])
teachers = {"teacher": Path(sys.argv[4])}
settings = {"images": {"model": "resnet8", "batch_size": 16}, "events": {"batch_size": 16}}
data = {"images": Path(sys.argv[2]), "events": Path(sys.argv[3])}
for method in METHODS.values():
    try:
        method.load()(method.config(**settings[method.data]), Inputs({"train": data[method.data]}, teachers), Run())
    except Reached:
        slow = "torch._dynamo torchvision timm torchmetrics onnxruntime onnx matplotlib scipy accelerate".split()
        print(method.name, [name for name in slow if name in sys.modules])
"""
    labels = np.arange(40) % 2
    dark_and_bright = np.repeat((labels * 255).astype(np.uint8), 64).reshape(40, 8, 8)
    write_arrays_dataset(tmp_path / "images", dark_and_bright, labels, ["a", "b"])
    recipe = Recipe(channels=1, height=8, width=8, mean=[0.5], std=[0.5])
    pictures = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    network = nearest_mean_network("resnet8", pictures, torch.arange(2))
    teacher = write_teacher(tmp_path / "teacher", network, "resnet8", ["a", "b"], recipe)
    events = events_folder(tmp_path / "events", walks(users=20, items=6))
    folders = [str(folder) for folder in (tmp_path, tmp_path / "images", events, teacher)]
    finished = subprocess.run(
        [sys.executable, "-c", program, *folders], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert len(lines) == len(METHODS)
    assert all(line.endswith("[]") for line in lines), lines
