"""Feature taps: read a model's inner maps by module path, without touching the model.

A tap is the output of one module, seen as a map [B, C, H, W]: convolution maps as they are, channels-last maps (Swin)
permuted, token sequences (ViT) without their class tokens and folded back onto the patch grid. Hooks live only
during one forward pass, so a tapped model copies, pickles and exports like any other and holds no batch alive.
`libs.training.tap_search` finds good taps.
"""

import difflib
import fnmatch
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

Layout = Literal["nchw", "nhwc", "tokens"]

ReducedT = TypeVar("ReducedT")

MAX_PREFIX_TOKENS = 8


class UnknownTapError(LookupError):
    """No module of the model matches the path or glob; the message names the nearest paths."""

    user_error = True


@dataclass(frozen=True, slots=True)
class Tap:
    """One module output that is a feature map.

    Attributes:
        path: module path, as in `model.get_submodule`.
        channels: C.
        height: H of the map for the example it was found with.
        width: W, likewise.
        layout: how the module's output is laid out.
        activated: whether the map is what an activation function returned (or is nowhere negative).
        prefix_tokens: class and register tokens before the patches (layout `tokens`).
    """

    path: str
    channels: int
    height: int
    width: int
    layout: Layout = "nchw"
    activated: bool = True
    prefix_tokens: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    def as_map(self, output: Tensor) -> Tensor:
        """The module's output as [B, C, H, W].

        Raises:
            ValueError: tokens that no longer fit a grid of the example's shape.
        """
        if self.layout == "nchw":
            return output
        if self.layout == "nhwc":
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.prefix_tokens :]  # [B, H*W, C]
        height = round(math.sqrt(patches.shape[1] * self.height / self.width))
        if height < 1 or patches.shape[1] % height:
            raise ValueError(f"{self.path}: {patches.shape[1]} patch tokens do not form a grid")
        return patches.transpose(1, 2).reshape(len(patches), patches.shape[2], height, -1)


@contextmanager
def captured_outputs(
    model: nn.Module, paths: Sequence[str], reduce: Callable[[str, Tensor], Any] | None = None
) -> Iterator[dict[str, Any]]:
    """A dictionary that fills with the last output of each module in `paths` while the model runs inside.

    Args:
        reduce: what is kept of (path, output) instead of the output. It is called when the next of the modules returns
            (for the last one, when the context ends): until then an activation in place may still change the output.
    """
    outputs: dict[str, Any] = {}
    waiting: list[str] = []

    def settle() -> None:
        if reduce is not None and waiting:
            path = waiting.pop()
            outputs[path] = reduce(path, outputs[path])

    def hook_for(path: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            settle()
            outputs[path] = output
            waiting.append(path)

        return keep

    modules = [model.get_submodule(path) for path in paths]
    before = [module._forward_hooks for module in modules]
    try:
        for module, path in zip(modules, paths, strict=True):
            # What register_forward_hook does, in a way torch's compiler can trace: a tapped model is one graph.
            hooks = module._forward_hooks
            module._forward_hooks = OrderedDict([*hooks.items(), (-1 - len(hooks), hook_for(path))])
        yield outputs
        settle()
    finally:
        for module, own in zip(modules, before, strict=True):
            module._forward_hooks = own


def forward_with_taps(model: nn.Module, taps: Sequence[Tap], inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The model's output and the tapped maps [B, C, H, W], in the order of `taps`.

    Raises:
        RuntimeError: a tapped module did not run.
    """
    with captured_outputs(model, [tap.path for tap in taps]) as outputs:
        prediction = model(inputs)
    return prediction, [tap.as_map(output) for tap, output in zip(taps, _of_all(taps, outputs), strict=True)]


def forward_with_reduced_taps(
    model: nn.Module, taps: Sequence[Tap], inputs: Tensor, reduce: Callable[[Tensor], ReducedT]
) -> tuple[Tensor, list[ReducedT]]:
    """The model's output and what `reduce` makes of each tapped map; the maps themselves are let go one by one.

    Raises:
        RuntimeError: a tapped module did not run.
    """
    by_path = {tap.path: tap for tap in taps}
    with captured_outputs(model, list(by_path), lambda path, output: reduce(by_path[path].as_map(output))) as outputs:
        prediction = model(inputs)
    return prediction, _of_all(taps, outputs)


def _of_all(taps: Sequence[Tap], outputs: Mapping[str, Any]) -> list[Any]:
    missing = [tap.path for tap in taps if tap.path not in outputs]
    if missing:
        raise RuntimeError(f"tapped modules did not run in this forward pass: {', '.join(missing)}")
    return [outputs[tap.path] for tap in taps]


@dataclass(frozen=True, slots=True)
class Call:
    """One module call of a recorded forward pass."""

    path: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor


def record_calls(model: nn.Module, example: Tensor) -> list[Call]:
    """Every inner module call that returned one tensor, in order of return, of one evaluation forward pass.

    Args:
        example: [B, C, H, W]; only its shape, type and device count. What runs is one picture of noise, so that a
            blank example does not make every map look activated.
    """
    noise = torch.randn(1, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    calls: list[Call] = []

    def hook_for(path: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                tensors = tuple(a for a in args if isinstance(a, Tensor))
                calls.append(Call(path, module, tensors, output))

        return keep

    modes = [(module, module.training) for module in model.modules()]
    handles = [m.register_forward_hook(hook_for(path)) for path, m in model.named_modules() if path]
    try:
        model.eval()
        with torch.no_grad():
            model(noise.to(example))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return calls


def maps_of(calls: Sequence[Call]) -> list[tuple[Call, Tap]]:
    """The recorded calls whose output is a map with more than one position, with their taps, in call order."""
    channels_last = _channels_last_shapes(calls)
    activations = {id(call.output) for call in calls if is_activation(call.module)}
    found: list[tuple[Call, Tap]] = []
    grid: tuple[int, int] | None = None
    for call in calls:
        shape = _map_shape(call.output, grid, channels_last)
        if isinstance(call.module, nn.Conv2d):
            grid = (call.output.shape[2], call.output.shape[3])
        if shape is None or shape[1] * shape[2] == 1:
            continue
        channels, height, width, layout = shape
        activated = id(call.output) in activations or bool(call.output.amin() >= 0)
        prefix = call.output.shape[1] - height * width if layout == "tokens" else 0
        found.append((call, Tap(call.path, channels, height, width, layout, activated, prefix)))
    return _without_attention_internals(found)


def _without_attention_internals(maps: Sequence[tuple[Call, Tap]]) -> list[tuple[Call, Tap]]:
    """Drop 4-D outputs inside modules that return tokens: they are heads and attention weights, not maps."""
    token_paths = {tap.path for _, tap in maps if tap.layout == "tokens"}

    def inside_tokens(path: str) -> bool:
        parts = path.split(".")
        return any(".".join(parts[:k]) in token_paths for k in range(1, len(parts)))

    return [(call, tap) for call, tap in maps if tap.layout == "tokens" or not inside_tokens(tap.path)]


def is_activation(module: nn.Module) -> bool:
    """Whether the module is one of torch's (or timm's) element-wise activations."""
    return type(module).__module__.rsplit(".", 1)[-1] in ("activation", "activations", "activations_me")


def _channels_last_shapes(calls: Sequence[Call]) -> set[tuple[int, ...]]:
    """Shapes [H, W, C] on which a layer norm runs over the last axis.

    Subclasses of torch's (`LayerNorm2d`) may permute first: they count where only the last axis can be meant.
    """
    shapes: set[tuple[int, ...]] = set()
    for call in calls:
        if isinstance(call.module, nn.LayerNorm) and call.output.dim() == 4:
            _, first, _, last = call.output.shape
            normalised = call.module.normalized_shape[-1]
            plain = type(call.module) is nn.LayerNorm
            if normalised == last and (plain or normalised != first):
                shapes.add(tuple(call.output.shape[1:]))
    return shapes


def _map_shape(
    output: Tensor, grid: tuple[int, int] | None, channels_last: set[tuple[int, ...]]
) -> tuple[int, int, int, Layout] | None:
    """(C, H, W, layout) of a module output, None if it is no map. `grid`: (H, W) of the convolution before."""
    if output.shape[:1] != (1,):
        return None
    if output.dim() == 4:
        shape = tuple(output.shape[1:])
        if shape in channels_last:
            return shape[2], shape[0], shape[1], "nhwc"
        return shape[0], shape[1], shape[2], "nchw"
    if output.dim() == 3 and grid is not None:
        prefix = output.shape[1] - grid[0] * grid[1]
        if 0 <= prefix <= MAX_PREFIX_TOKENS:
            return output.shape[2], *grid, "tokens"
    return None


def list_taps(model: nn.Module, example: Tensor) -> list[Tap]:
    """Every map the model makes for `example` [B, C, H, W], in call order: what a user may choose from.

    A module that runs more than once is listed once, with its last output.
    """
    last = {tap.path: tap for _, tap in maps_of(record_calls(model, example))}
    return list(last.values())


def resolve_paths(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Module paths of paths and globs, each once, in the order given; `*` stays within one part of a path.

    Raises:
        UnknownTapError: a pattern that matches no module.
    """
    known = [path for path, _ in model.named_modules() if path]
    resolved: dict[str, None] = {}
    for pattern in patterns:
        matches = [path for path in known if _matches(path, pattern)]
        if not matches:
            nearest = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
            raise UnknownTapError(f"no module of the model matches the tap {pattern!r}.{hint}")
        resolved.update(dict.fromkeys(matches))
    return list(resolved)


def _matches(path: str, pattern: str) -> bool:
    parts, patterns = path.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def taps_at(model: nn.Module, patterns: Sequence[str], example: Tensor) -> list[Tap]:
    """The taps at the given module paths or globs, in the order given.

    Raises:
        UnknownTapError: no such module, or its output is no map with more than one position.
    """
    available = {tap.path: tap for tap in list_taps(model, example)}
    chosen: list[Tap] = []
    for path in resolve_paths(model, patterns):
        if path not in available:
            raise UnknownTapError(
                f"{path} returns no feature map of more than one position for inputs {tuple(example.shape[1:])}"
            )
        chosen.append(available[path])
    return chosen
