"""Taps found automatically on networks of many families."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from libs.models.backbones.build import build_classifier
from libs.training.tap_search import NoFeatureMapsError, find_taps
from libs.training.taps import forward_with_taps

STAGES = {
    "torchvision/resnet18": ["layer1.1", "layer2.1", "layer3.1", "layer4.1"],
    "torchvision/mobilenet_v2": ["features.1", "features.3", "features.6", "features.13", "features.17"],
    "torchvision/densenet121": [
        "features.transition1.relu",
        "features.transition2.relu",
        "features.transition3.relu",
        "features.norm5",
    ],
    "torchvision/vgg11_bn": ["features.2", "features.6", "features.13", "features.20", "features.27"],
    "torchvision/swin_t": ["features.1.1", "features.3.1", "features.5.5", "features.7.1"],
    "timm/resnet18": ["layer1.1", "layer2.1", "layer3.1", "layer4.1"],
    "timm/resnetv2_50": ["stages.1.blocks.0.norm1", "stages.2.blocks.0.norm1", "stages.3.blocks.0.norm1", "norm"],
    "timm/convnext_atto": ["stages.0.blocks.1", "stages.1.blocks.1", "stages.2.blocks.5", "stages.3.blocks.1"],
    "timm/mobilenetv3_small_050": ["blocks.1.1", "blocks.3.1", "blocks.4.2"],
    "timm/vit_tiny_patch16_224": ["blocks.2", "blocks.5", "blocks.8", "blocks.11"],
    "timm/deit_tiny_distilled_patch16_224": ["blocks.2", "blocks.5", "blocks.8", "blocks.11"],
    "wrn-16-2": ["stages.1.0.relu1", "stages.2.0.relu1", "relu"],
    "wrn-10-1": ["stages.1.0.relu1", "stages.2.0.relu1", "relu"],
    "resnet8": ["stages.0.0", "stages.1.0", "stages.2.0"],
    "resnet18": ["stages.0.1", "stages.1.1", "stages.2.1", "stages.3.1"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages(name):
    torch.manual_seed(0)
    model = build_classifier(name, 3, image_size=64).eval()
    taps = find_taps(model, torch.zeros(1, 3, 64, 64))
    assert [tap.path for tap in taps] == STAGES[name]
    _, features = forward_with_taps(model, taps, torch.randn(2, 3, 64, 64))
    assert [tuple(f.shape) for f in features] == [(2, tap.channels, *tap.size) for tap in taps]


@pytest.mark.parametrize("name", ["torchvision/resnet18", "wrn-16-2", "resnet18", "timm/resnetv2_50"])
def test_taps_of_relu_networks_are_after_the_activation(name):
    model = build_classifier(name, 3).eval()
    taps = find_taps(model, torch.zeros(1, 3, 64, 64))
    assert all(tap.activated for tap in taps)
    _, features = forward_with_taps(model, taps, torch.randn(2, 3, 64, 64))
    assert all((feature >= 0).all() for feature in features)


def test_wide_resnet_tap_is_what_the_next_block_convolves():
    model = build_classifier("wrn-16-2", 3).eval()
    x = torch.randn(1, 3, 16, 16)
    _, features = forward_with_taps(model, find_taps(model, x), x)
    stage = model.stages[0](model.conv1(x))
    torch.testing.assert_close(features[0], model.stages[1][0].bn1(stage).relu())


def test_block_level_lists_every_block():
    taps = find_taps(torchvision.models.resnet18(), torch.zeros(1, 3, 64, 64), "block")
    assert [tap.path for tap in taps] == [f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)]


def test_long_networks_are_thinned_to_24_blocks():
    model = build_classifier("resnet110", 3)  # 54 blocks
    taps = find_taps(model, torch.zeros(1, 3, 16, 16), "block")
    assert len(taps) == 24
    assert taps[-1].path == "stages.2.17"


def test_maps_of_one_position_are_dropped():
    taps = find_taps(timm.create_model("resnet18", num_classes=3), torch.zeros(1, 3, 32, 32))
    assert [tap.size for tap in taps] == [(8, 8), (4, 4), (2, 2)]


def test_a_network_without_maps_is_refused():
    with pytest.raises(NoFeatureMapsError, match="makes no feature maps"):
        find_taps(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.zeros(1, 3, 2, 2))
