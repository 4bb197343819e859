"""Warnings about beta and the stem."""

import pytest
import torch

from libs.models.backbones.build import build_classifier
from libs.models.frskd.diagnostics import LossRatioMonitor, stem_warning
from libs.training.objective import StepOutput


def step(feature, cross_entropy, beta=10.0):
    losses = {"ce_classifier": torch.tensor(cross_entropy), "feature": torch.tensor(feature)}
    return StepOutput(losses, {"ce_classifier": 1.0, "feature": beta}, torch.zeros(1, 2))


@pytest.mark.parametrize(("outweighed", "warns"), [(0, False), (2, False), (3, True), (10, True)])
def test_warns_when_the_feature_term_outweighs_in_more_than_a_fifth_of_the_steps(outweighed, warns):
    monitor = LossRatioMonitor()
    for k in range(10):
        monitor.update(step(feature=0.3 if k < outweighed else 0.1, cross_entropy=2.0))
    message = monitor.end_epoch()
    assert (message is not None) == warns
    if message:
        assert f"{outweighed * 10}%" in message
        assert "beta" in message


def test_every_epoch_counts_anew():
    monitor = LossRatioMonitor()
    monitor.update(step(1.0, 1.0))
    assert monitor.end_epoch() is not None
    assert monitor.end_epoch() is None
    monitor.update(step(0.0, 1.0))
    assert monitor.end_epoch() is None


def test_large_picture_stem_on_small_pictures_warns():
    message = stem_warning(build_classifier("torchvision/resnet18", 10), torch.zeros(1, 3, 32, 32))
    assert message is not None
    assert "32x32 by 4" in message


@pytest.mark.parametrize(("name", "size"), [("resnet18", 32), ("wrn-10-1", 64), ("torchvision/resnet18", 96)])
def test_fitting_stems_do_not_warn(name, size):
    assert stem_warning(build_classifier(name, 10), torch.zeros(1, 3, size, size)) is None
