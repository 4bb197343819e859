"""Taps: capture without traces, layouts, paths and globs."""

import copy
import gc
import weakref

import pytest
import torch
import torchvision
from torch import nn

from libs.training.taps import (
    Tap,
    UnknownTapError,
    captured_outputs,
    forward_with_reduced_taps,
    forward_with_taps,
    list_taps,
    resolve_paths,
    taps_at,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip


EXAMPLE = torch.zeros(1, 3, 8, 8)


class Tapped(nn.Module):
    """A step module in small: a model, read by taps."""

    def __init__(self, model, taps):
        super().__init__()
        self.model = model
        self.taps = taps

    def forward(self, inputs):
        return forward_with_taps(self.model, self.taps, inputs)


def test_lists_every_map_with_its_shape():
    listed = [(tap.path, tap.channels, tap.size, tap.activated) for tap in list_taps(network(), EXAMPLE)]
    assert listed == [
        ("0", 4, (8, 8), False),
        ("1", 4, (8, 8), True),
        ("2", 6, (4, 4), False),
        ("3", 6, (4, 4), True),
    ]


def test_returns_logits_and_maps_in_the_order_of_the_taps():
    model = network()
    x = torch.randn(2, 3, 8, 8)
    logits, (late, early) = forward_with_taps(model, taps_at(model, ["3", "1"], EXAMPLE), x)
    torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(early, model[:2](x))
    torch.testing.assert_close(late, model[:4](x))


def test_taps_carry_gradients_and_agree_with_the_model():
    model = network()
    _, (feature,) = forward_with_taps(model, taps_at(model, ["1"], EXAMPLE), torch.randn(2, 3, 8, 8))
    feature.sum().backward()
    assert model[0].weight.grad is not None
    assert model[2].weight.grad is None


def test_no_hook_and_no_batch_stays_behind():
    model = network()
    logits, features = forward_with_taps(model, taps_at(model, ["1", "3"], EXAMPLE), torch.randn(2, 3, 8, 8))
    held = [weakref.ref(feature) for feature in features]
    del logits, features
    gc.collect()
    assert all(reference() is None for reference in held)
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_when_the_model_fails():
    model = network()
    with pytest.raises(RuntimeError, match="expected input"):
        forward_with_taps(model, taps_at(model, ["1"], EXAMPLE), torch.randn(2, 5, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_of_the_model_run_before_the_tap_and_stay():
    model = network()
    handle = model[1].register_forward_hook(lambda module, args, output: output + 1)
    x = torch.randn(2, 3, 8, 8)
    _, (feature,) = forward_with_taps(model, taps_at(model, ["1"], EXAMPLE), x)
    assert torch.equal(feature, model[0](x).relu() + 1)
    handle.remove()
    assert not model[1]._forward_hooks


def test_two_paths_of_one_module_are_both_read():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(1, 2, 1), shared, nn.Conv2d(2, 2, 1), shared)
    _, (first, second) = forward_with_taps(model, [Tap("1", 2, 4, 4), Tap("3", 2, 4, 4)], torch.randn(1, 1, 4, 4))
    assert torch.equal(first, second)
    assert not shared._forward_hooks


def test_looking_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout2d(), nn.ReLU()).train()
    model[0].eval()
    before = copy.deepcopy(model.state_dict())
    list_taps(model, EXAMPLE)
    assert [module.training for module in model] == [False, True, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_copied_composite_reads_the_copy():
    model = network()
    tapped = Tapped(model, taps_at(model, ["1"], EXAMPLE))
    twin = copy.deepcopy(tapped)
    nn.init.zeros_(twin.model[0].weight)
    nn.init.zeros_(twin.model[0].bias)
    x = torch.randn(1, 3, 8, 8)
    assert not twin(x)[1][0].any()
    assert tapped(x)[1][0].any()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the tracer looks at every tensor's
def test_compiled_composite_is_one_graph_and_gives_the_same_maps_and_gradients():
    model = network()
    tapped = Tapped(model, taps_at(model, ["1", "3"], EXAMPLE))
    torch.compiler.reset()
    compiled = torch.compile(tapped, backend="eager", fullgraph=True)
    for _ in range(3):  # the hooks of each pass must be its own
        x = torch.randn(2, 3, 8, 8)
        gradients = []
        for run in (tapped, compiled):
            model.zero_grad()
            logits, features = run(x)
            (logits.sum() + features[0].square().sum()).backward()
            gradients.append([features, [p.grad.clone() for p in model.parameters()]])
        torch.testing.assert_close(gradients[0], gradients[1])
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_that_does_not_run_is_reported():
    class Partial(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(RuntimeError, match="did not run in this forward pass: spare"):
        forward_with_taps(Partial(), [Tap("spare", 4, 8, 8)], torch.zeros(1, 3, 8, 8))


def test_last_call_of_a_repeated_module_wins():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(1, 2, 1), shared, nn.Conv2d(2, 2, 1), shared)
    x = torch.randn(1, 1, 4, 4)
    with captured_outputs(model, ["1"]) as outputs:
        expected = model(x)
    assert torch.equal(outputs["1"], expected)


def test_globs_stay_within_a_path_part():
    model = torchvision.models.resnet18()
    assert resolve_paths(model, ["layer*"]) == ["layer1", "layer2", "layer3", "layer4"]
    assert resolve_paths(model, ["layer2.*", "layer1.1"]) == ["layer2.0", "layer2.1", "layer1.1"]


def test_unknown_path_names_the_nearest():
    with pytest.raises(UnknownTapError, match=r"'layr1'.*Nearest: layer1"):
        resolve_paths(torchvision.models.resnet18(), ["layr1"])


def test_a_module_without_a_map_is_refused():
    with pytest.raises(UnknownTapError, match="5 returns no feature map"):
        taps_at(network(), ["5"], EXAMPLE)


def test_tokens_become_a_map_without_the_class_token():
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=3).eval()
    (tap,) = taps_at(model, ["encoder.layers.encoder_layer_1"], torch.zeros(1, 3, 16, 16))
    assert (tap.layout, tap.prefix_tokens, tap.channels, tap.size) == ("tokens", 1, 8, (4, 4))
    x = torch.randn(2, 3, 16, 16)
    with captured_outputs(model, [tap.path]) as outputs:
        model(x)
    _, (feature,) = forward_with_taps(model, [tap], x)
    assert torch.equal(feature[1, :, 2, 3], outputs[tap.path][1, 1 + 2 * 4 + 3])


def test_tokens_of_another_picture_size_keep_the_aspect_ratio():
    tap = Tap("blocks", 2, 4, 2, "tokens", prefix_tokens=1)
    assert tap.as_map(torch.zeros(1, 1 + 8 * 4, 2)).shape == (1, 2, 8, 4)
    with pytest.raises(ValueError, match="7 patch tokens do not form a grid"):
        tap.as_map(torch.zeros(1, 1 + 7, 2))


def test_channels_last_maps_are_permuted():
    torch.manual_seed(0)
    model = torchvision.models.SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=3).eval()
    taps = taps_at(model, ["features.1.1", "features.3.1"], torch.zeros(1, 3, 16, 16))
    assert [(tap.layout, tap.channels, tap.size) for tap in taps] == [("nhwc", 8, (8, 8)), ("nhwc", 16, (4, 4))]
    _, features = forward_with_taps(model, taps, torch.randn(2, 3, 16, 16))
    assert [tuple(f.shape) for f in features] == [(2, 8, 8, 8), (2, 16, 4, 4)]


def test_reduced_taps_see_what_an_activation_in_place_leaves_and_let_maps_go() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3)
            self.first_map: weakref.ref[torch.Tensor] | None = None
            self.alive = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            self.first_map = weakref.ref(x)
            x = self.second(x.relu_()).relu_()
            self.alive = self.first_map() is not None
            return x.mean((2, 3))

    model, example = InPlace(), torch.randn(2, 1, 8, 8)
    taps = taps_at(model, ["first", "second"], example)
    with torch.no_grad():
        _, maps = forward_with_taps(model, taps, example)
        assert model.alive
        logits, reduced = forward_with_reduced_taps(model, taps, example, lambda one: one.sum((2, 3)))
    assert not model.alive
    torch.testing.assert_close(reduced, [one.sum((2, 3)) for one in maps])
    assert all(bool((one >= 0).all()) for one in maps)
    assert torch.equal(logits, model(example))
