"""Build a classifier by name: our small networks, `timm/NAME` or `torchvision/NAME`.

timm and torchvision take as long to import as torch itself, so they are imported where they are used.
"""

from pathlib import Path
from typing import Any

from torch import nn

from libs.models.backbones.names import (
    LIBRARIES,
    SMALL_NETWORKS,
    ResNetSpec,
    WideResNetSpec,
    small_network_spec,
    unknown_classifier,
)
from libs.models.backbones.pretrained import adapt_weights, find_weights, read_weights
from libs.models.backbones.resnet import SmallResNet
from libs.models.backbones.wide_resnet import WideResNet


class UnknownClassifierError(LookupError):
    """No classifier of that name; the message names the nearest ones."""

    user_error = True

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(unknown_classifier(name, classifier_names()))


def classifier_names() -> list[str]:
    """Every name `build_classifier` knows (any further `wrn-D-K` and `resnetD` besides)."""
    import timm
    import torchvision

    vision = torchvision.models.list_models(module=torchvision.models)
    return [
        *SMALL_NETWORKS,
        *(f"timm/{name}" for name in timm.list_models()),
        *(f"torchvision/{name}" for name in vision),
    ]


def build_classifier(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    pretrained: bool = False,
    weights_folder: Path | None = None,
    *,
    image_size: int | None = None,
) -> nn.Module:
    """A classifier: pictures [B, in_channels, H, W] to logits [B, num_classes].

    Args:
        name: one of `SMALL_NETWORKS`, any `wrn-D-K` or `resnetD`, `timm/NAME` or `torchvision/NAME`.
        pretrained: start from the published weights, read from `weights_folder` or OCTAVO_MIRROR. The first
            convolution is adapted to `in_channels`; the head is new unless the number of classes agrees.
        image_size: side in pixels, for networks that are bound to one (transformers).

    Raises:
        UnknownClassifierError: no such name.
        WeightsError: published weights asked for and not found, broken, or not published.
        ValueError: a number below 1.
    """
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels are at least 1, got {num_classes} and {in_channels}")
    library, slash, model_name = name.partition("/")
    if slash and library in LIBRARIES:
        build = _build_timm if library == "timm" else _build_torchvision
        return build(model_name, num_classes, in_channels, pretrained, weights_folder, image_size)
    network = _build_small(name, num_classes, in_channels)
    if pretrained:
        find_weights(name, [], weights_folder)
    return network


def _build_small(name: str, num_classes: int, in_channels: int) -> nn.Module:
    match small_network_spec(name):
        case ResNetSpec(blocks):
            return SmallResNet([blocks] * 3, [16, 32, 64], num_classes, in_channels)
        case WideResNetSpec(blocks, width):
            return WideResNet(blocks, width, num_classes, in_channels)
        case "resnet18":
            return SmallResNet([2] * 4, [64, 128, 256, 512], num_classes, in_channels)
        case _:
            raise UnknownClassifierError(name)


def _build_timm(
    name: str, num_classes: int, in_channels: int, pretrained: bool, folder: Path | None, image_size: int | None
) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise UnknownClassifierError(f"timm/{name}")
    config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {}
    if image_size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    if pretrained:
        weights = read_weights(find_weights(f"timm/{name}", _timm_files(config), folder))
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": weights}}
    model: nn.Module = timm.create_model(name, num_classes=num_classes, in_chans=in_channels, **options)
    return model


def _timm_files(config: Any) -> list[str]:
    """Where the published weights of a timm model may lie: by hub name, then by the file's own name."""
    if config is None:
        return []
    files = [f"{config.hf_hub_id}.safetensors", f"{config.hf_hub_id}/model.safetensors"] if config.hf_hub_id else []
    published = config.url.rsplit("/", 1)[-1] if config.url else ""
    return [*files, published] if published and not published.endswith(".npz") else files


def _build_torchvision(
    name: str, num_classes: int, in_channels: int, pretrained: bool, folder: Path | None, image_size: int | None
) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise UnknownClassifierError(f"torchvision/{name}")
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_") and image_size is not None:
        options = {"image_size": image_size}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    if in_channels != 3:
        _replace_first_convolution(model, in_channels)
    if pretrained:
        published = torchvision.models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[-1]
        files = [f"torchvision/{name}.safetensors", published]
        weights = read_weights(find_weights(f"torchvision/{name}", files, folder))
        model.load_state_dict(adapt_weights(weights, model, num_classes))
    return model


def _replace_first_convolution(model: nn.Module, in_channels: int) -> None:
    """Let the first convolution read `in_channels` instead of 3; its new weights are torch's default."""
    path, old = next((p, m) for p, m in model.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]  # torch types them as tuples of any length
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
