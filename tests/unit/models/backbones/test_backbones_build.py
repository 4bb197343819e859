"""Classifiers by name: sizes, names, channels."""

import re

import pytest
import torch

from libs.models.backbones.build import UnknownClassifierError, build_classifier, classifier_names
from libs.models.backbones.names import SMALL_NETWORKS, check_classifier_name, small_network_spec

PARAMETERS = {  # 100 classes, 3 channels
    "wrn-16-2": 703_284,
    "wrn-40-2": 2_255_156,
    "resnet18": 11_220_132,
    "resnet20": 278_324,
    "resnet56": 861_620,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    network = build_classifier(name, 100)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet8", "resnet14", "wrn-10-1", "wrn-16-1", "resnet18"])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8), (1, 28)])
def test_small_networks_take_colour_and_grey_pictures_of_any_size(name, channels, size):
    network = build_classifier(name, 7, channels).eval()
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "torchvision/squeezenet1_1"])
def test_library_networks_take_grey_pictures(name):
    assert build_classifier(name, 7, 1).eval()(torch.zeros(2, 1, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "torchvision/vit_b_32"])
def test_networks_bound_to_a_size_get_it(name):
    assert build_classifier(name, 4, image_size=64).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


def test_every_small_name_builds_without_listing_libraries():
    assert all(small_network_spec(name) is not None for name in SMALL_NETWORKS)


@pytest.mark.parametrize("name", ["resnet9", "resnet2", "resnet9999", "wrn-17-2", "wrn-16-0", "wrn-16-99", "wrn-4-1"])
def test_depths_that_do_not_exist(name):
    assert small_network_spec(name) is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("wrn-16", "wrn-16-2"), ("timm/resnt18", "timm/resnet18"), ("torchvision/resnet19", "torchvision/resnet18")],
)
def test_unknown_name_gives_the_nearest(name, nearest):
    with pytest.raises(UnknownClassifierError, match=rf"Did you mean [^?]*{nearest}") as caught:
        build_classifier(name, 10)
    assert caught.value.user_error


def test_names_are_prefixed_by_library():
    names = classifier_names()
    assert {"wrn-16-2", "timm/resnet18", "torchvision/resnet18"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("classes", "channels"), [(0, 3), (10, 0)])
def test_sizes_below_one_are_refused(classes, channels):
    with pytest.raises(ValueError, match="at least 1"):
        build_classifier("resnet8", classes, channels)


def test_channels_last_gives_the_same_logits():
    torch.manual_seed(0)
    network, pictures = build_classifier("wrn-10-1", 5).eval(), torch.randn(2, 3, 16, 16)
    expected = network(pictures)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(pictures.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize(
    "name", [*SMALL_NETWORKS, "wrn-22-3", "timm/vit_tiny_patch16_224.augreg_in21k", "torchvision/x"]
)
def test_a_name_that_may_exist_is_accepted_without_torch(name):
    assert check_classifier_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet9000", "no classifier 'resnet9000'. Did you mean resnet"),
        ("wrn-16-20x", "Did you mean wrn-16-2"),
        ("no-such-model@3", "as `init`"),
        ("torch/resnet18", "torchvision/NAME"),
        ("timm/../x", "timm/NAME"),
        ("timm/", "timm/NAME"),
        ("", "timm/NAME"),
    ],
)
def test_a_name_that_cannot_exist_is_refused_without_torch(name, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        check_classifier_name(name)
