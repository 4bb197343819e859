"""Find the taps of any image model by running it once.

A block is a composite module that stands in a `Sequential` or `ModuleList` and whose class repeats there or in other
places of the model: the residual blocks of a ResNet, inverted residuals, ConvNeXt and transformer blocks. A stage is
the last block of each resolution. Pre-activation networks end a block before the activation; there the tap moves to
the norm + activation that opens the next block, if it reads exactly that output.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from libs.training.taps import Call, Tap, is_activation, maps_of, record_calls

Level = Literal["stage", "block"]

MAX_BLOCK_TAPS = 24
STAGES_WITHOUT_PYRAMID = 4
NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


class NoFeatureMapsError(ValueError):
    """The model makes no feature map of more than one position for pictures of this size."""

    user_error = True


def find_taps(model: nn.Module, example: Tensor, level: Level = "stage") -> list[Tap]:
    """Taps of the model, finest first, for inputs like `example` [B, C, H, W]; the model is left as it was.

    Args:
        level: `stage`, one per resolution (of a network without a pyramid, such as a ViT: four, evenly spaced), or
            `block`, every block's output, thinned evenly to 24.

    Raises:
        NoFeatureMapsError: the model makes none.
    """
    calls = record_calls(model, example)
    maps = maps_of(calls)
    blocks = _block_maps(maps, model) or _activation_maps(maps)
    if not blocks:
        raise NoFeatureMapsError(
            f"{type(model).__name__} makes no feature maps of more than one position for inputs "
            f"{tuple(example.shape[1:])}; is the picture too small for it?"
        )
    chosen = _thin(blocks, MAX_BLOCK_TAPS) if level == "block" else _stages(blocks)
    return [_after_activation(call, tap, calls) for call, tap in chosen]


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList))


def _block_maps(maps: Sequence[tuple[Call, Tap]], model: nn.Module) -> list[tuple[Call, Tap]]:
    """Outputs of the blocks, in call order: innermost of classes that repeat among siblings, outermost of others."""
    containers = [module for module in model.modules() if _is_container(module)]
    families = [[type(c) for c in parent.children() if _is_composite(c)] for parent in containers]
    by_class = Counter(kind for family in families for kind in family)
    among_siblings = {kind for family in families for kind, count in Counter(family).items() if count > 1}
    children = {id(child) for parent in containers for child in parent.children() if _is_composite(child)}
    found = [(c, tap) for c, tap in maps if id(c.module) in children and by_class[type(c.module)] > 1]
    strong = [c.path for c, _ in found if type(c.module) in among_siblings]

    def is_block(call: Call) -> bool:
        if any(_inside(path, call.path) for path in strong):
            return False
        return call.path in strong or not any(_inside(call.path, other.path) for other, _ in found)

    return [(call, tap) for call, tap in found if is_block(call)]


def _is_composite(module: nn.Module) -> bool:
    return not _is_container(module) and next(module.children(), None) is not None


def _inside(path: str, ancestor: str) -> bool:
    return path.startswith(f"{ancestor}.")


def _activation_maps(maps: Sequence[tuple[Call, Tap]]) -> list[tuple[Call, Tap]]:
    """For networks without repeated blocks (VGG, hand-written): what activation functions returned."""
    counts = Counter(call.path for call, _ in maps)
    return [(call, tap) for call, tap in maps if is_activation(call.module) and counts[call.path] == 1]


def _stages(blocks: Sequence[tuple[Call, Tap]]) -> list[tuple[Call, Tap]]:
    last_of_size = {tap.size: (call, tap) for call, tap in blocks}
    if len(last_of_size) > 1:
        return sorted(last_of_size.values(), key=lambda pair: -pair[1].height * pair[1].width)
    return _thin(blocks, STAGES_WITHOUT_PYRAMID)


def _thin(blocks: Sequence[tuple[Call, Tap]], limit: int) -> list[tuple[Call, Tap]]:
    """At most `limit`, evenly spaced, the last one among them."""
    count = min(limit, len(blocks))
    return [blocks[(k + 1) * len(blocks) // count - 1] for k in range(count)]


def _after_activation(call: Call, tap: Tap, calls: Sequence[Call]) -> Tap:
    """The tap moved behind the normalisation and activation that read its output, where there are such."""
    if tap.activated or tap.layout != "nchw":
        return tap
    norm = _reader(call.output, calls)
    if norm is None:
        return tap
    activation = _reader(norm.output, [c for c in calls if not _inside(c.path, norm.path)])
    if activation is not None and is_activation(activation.module):
        return replace(tap, path=activation.path, activated=True)
    if bool(norm.output.amin() >= 0):  # norm and activation in one, or an activation in place that is no module
        return replace(tap, path=norm.path, activated=True)
    return tap


def _reader(tensor: Tensor, calls: Sequence[Call]) -> Call | None:
    """The first call that reads the tensor and returns a map of its shape, if that module runs once."""
    counts = Counter(c.path for c in calls)
    reader = next((c for c in calls if c.inputs and c.inputs[0] is tensor and _keeps(c, tensor)), None)
    return reader if reader is not None and counts[reader.path] == 1 else None


def _keeps(call: Call, tensor: Tensor) -> bool:
    """Whether the call is a norm or another leaf, but no convolution, and keeps the map's shape."""
    simple = next(call.module.children(), None) is None or isinstance(call.module, NORMS)
    return simple and call.output.shape == tensor.shape and not isinstance(call.module, nn.Conv2d)
