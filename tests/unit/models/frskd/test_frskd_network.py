"""The self-teacher: sizes, orders of operations, fusion weights, parameter counts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from libs.models.frskd.network import BiFPNLayer, Fusion, SelfTeacher, downsample, upsample


def features_of(channels, sizes, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, c, h, w, generator=generator) for c, (h, w) in zip(channels, sizes, strict=True)]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("channels", "expected"), [((32, 64, 128), 411_885), ((64, 128, 256, 512), 6_375_794)], ids=["wrn-16-2", "resnet18"]
)
def test_parameter_count_is_the_published_one(channels, expected):
    assert parameters(SelfTeacher(channels, 100)) == expected


def naive_layer(layer: BiFPNLayer, features):
    """The published order: the 1x1 block after nearest up-sampling, max-pool on a zero-padded copy."""
    top_down = [layer.lateral_down[-1](features[-1])]
    for i in reversed(range(len(features) - 1)):
        above = layer.up[i](F.interpolate(top_down[0], scale_factor=2, mode="nearest"))
        fused = layer.top_down_fusion[i](layer.lateral_down[i](features[i]), above)
        top_down.insert(0, layer.top_down[i](fused))
    refined = [top_down[0]]
    for i in range(1, len(features)):
        pooled = F.max_pool2d(F.pad(refined[-1], (0, 1, 0, 1)), 3, stride=2)
        maps = [layer.lateral_up[i - 1](features[i]), layer.down[i - 1](pooled)]
        if i < len(features) - 1:
            maps.insert(1, top_down[i])
        refined.append(layer.bottom_up[i - 1](layer.bottom_up_fusion[i - 1](*maps)))
    return refined


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_block_before_upsampling_equals_the_naive_order(training, memory_format):
    torch.manual_seed(0)
    layer = BiFPNLayer([4, 6, 8], [8, 12, 16], 2, change_channels=True, first=True).train(training)
    layer = layer.to(memory_format=memory_format)
    inputs = [f.to(memory_format=memory_format) for f in features_of([4, 6, 8], [(16, 16), (8, 8), (4, 4)])]
    ours, naive = ([f.clone().requires_grad_() for f in inputs] for _ in range(2))
    refined = layer(ours)
    expected = naive_layer(layer, naive)
    for a, b in zip(refined, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    sum(f.square().sum() for f in refined).backward()
    sum(f.square().sum() for f in expected).backward()
    for a, b in zip(ours, naive, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=4),
    variant=st.sampled_from(["channel", "constant"]),
    repeats=st.integers(1, 2),
    depth=st.integers(1, 2),
)
@settings(max_examples=30)
def test_any_shrinking_sizes_keep_their_shapes(sizes, variant, repeats, depth):
    heights, widths = (sorted(side, reverse=True) for side in zip(*sizes, strict=True))
    sizes = list(zip(heights, widths, strict=True))
    channels = list(range(2, 2 + len(sizes)))
    network = SelfTeacher(
        channels, 3, variant=variant, repeats=repeats, depth=depth, constant_channels=5, width=2
    ).eval()
    logits, refined = network(features_of(channels, sizes))
    assert logits.shape == (2, 3)
    assert [tuple(r.shape[1:]) for r in refined] == [
        (2 * c if variant == "channel" else 5, *size) for c, size in zip(channels, sizes, strict=True)
    ]
    assert all(torch.isfinite(r).all() and (r >= 0).all() for r in refined)


def test_channel_variant_with_two_layers_trains():
    network = SelfTeacher([3, 4], 2, repeats=2)
    logits, _ = network(features_of([3, 4], [(8, 8), (4, 4)]))
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert isinstance(network.layers[1].lateral_down[0], nn.Identity)


def test_sizes_that_do_not_halve_are_resized_to_the_neighbour():
    x = torch.arange(49.0).reshape(1, 1, 7, 7)
    assert torch.equal(downsample(x, (4, 4)), F.adaptive_max_pool2d(x, 4))
    assert torch.equal(upsample(downsample(x, (4, 4)), (7, 7)), F.interpolate(downsample(x, (4, 4)), size=(7, 7)))
    assert downsample(x, (7, 7)) is x
    assert upsample(x, (7, 7)) is x


@given(height=st.integers(1, 9), width=st.integers(1, 9), data=st.data())
@settings(max_examples=30)
def test_pooling_to_any_size_equals_torchs_adaptive_pooling(height, width, data):
    size = (data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    if (height, width) == (2 * size[0], 2 * size[1]):
        return  # the paper's 3x3 stride-2 pooling, tested below
    ours, theirs = (torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    ours.requires_grad_()
    theirs.requires_grad_()
    pooled, expected = downsample(ours, size), F.adaptive_max_pool2d(theirs, size)
    assert torch.equal(pooled, expected)
    weights = torch.rand_like(expected)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_pooling_equals_zero_padding_at_the_right_and_bottom():
    x = torch.rand(2, 3, 6, 10)
    assert torch.equal(downsample(x, (3, 5)), F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, stride=2))


def test_negative_fusion_weight_is_clipped_and_gets_no_gradient():
    fusion = Fusion(3)
    with torch.no_grad():
        fusion.raw_weights.copy_(torch.tensor([-0.5, 1.0, 3.0]))
    maps = [torch.full((1, 1, 2, 2), float(v)) for v in (100, 1, 2)]
    torch.testing.assert_close(fusion.weights(), torch.tensor([0.0, 0.25, 0.75]))
    fused = fusion(*maps)
    torch.testing.assert_close(fused, torch.full((1, 1, 2, 2), 1.75))
    fused.sum().backward()
    assert fusion.raw_weights.grad[0] == 0
    assert (fusion.raw_weights.grad[1:] != 0).all()


def test_fusion_weights_are_named_per_node():
    weights = SelfTeacher([3, 4, 5], 2, repeats=2).fusion_weights()
    assert {name: len(w) for name, w in weights.items() if name.startswith("layer0")} == {
        "layer0.top_down0": 2,
        "layer0.top_down1": 2,
        "layer0.bottom_up1": 3,
        "layer0.bottom_up2": 2,
    }
    assert len(weights) == 8
    assert all(abs(float(w.sum()) - 1) < 1e-5 and not w.requires_grad for w in weights.values())


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}, {"repeats": 0}, {"constant_channels": 0}])
def test_sizes_below_one_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        SelfTeacher([3, 4], 2, **options)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match="at least 2 levels, got 1"):
        SelfTeacher([3], 2)
