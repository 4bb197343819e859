"""Networks for large pictures on small ones."""

import pytest
import torch
from torch import nn

from libs.models.backbones.build import build_classifier
from libs.training.stem_warning import stem_warning


def test_large_picture_stem_on_small_pictures_warns():
    message = stem_warning(build_classifier("torchvision/resnet18", 10), torch.zeros(1, 3, 32, 32))
    assert message is not None
    assert "32x32 by 4" in message


@pytest.mark.parametrize(("name", "size"), [("resnet18", 32), ("wrn-10-1", 64), ("torchvision/resnet18", 96)])
def test_fitting_stems_do_not_warn(name, size):
    assert stem_warning(build_classifier(name, 10), torch.zeros(1, 3, size, size)) is None


def test_a_network_that_leaves_one_position_warns():
    classifier = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    message = stem_warning(classifier, torch.zeros(1, 3, 4, 4))
    assert message is not None
    assert "4x4 by 4" in message
