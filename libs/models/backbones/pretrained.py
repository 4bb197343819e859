"""Published weights by name, from a folder or a mirror. Nothing is fetched from anywhere else, nothing unpickled.

A file is looked for in the weights folder (default: `weights` below OCTAVO_HOME), then under `weights/` of
OCTAVO_MIRROR, which is a folder or an http(s) address. Safetensors are preferred; a published `.pth` is read with
torch's tensor-only loader, and its digest is checked where its name carries one.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import pooch
import safetensors.torch
import torch
from torch import Tensor, nn

DOWNLOAD_TIMEOUT_S = 60


class WeightsError(RuntimeError):
    """Published weights could not be found, read or fitted; the message says what to put where."""

    user_error = True


def default_weights_folder() -> Path:
    """`weights` below this machine's Octavo folder."""
    return Path(os.environ.get("OCTAVO_HOME") or platformdirs.user_data_dir("octavo")) / "weights"


def find_weights(name: str, files: Sequence[str], folder: Path | None = None) -> Path:
    """The first of `files` (paths relative to the folder or mirror) that exists.

    Raises:
        WeightsError: none does, or its digest is not the one in its name.
    """
    if not files:
        raise WeightsError(f"there are no published weights for {name}; train it without `pretrained`")
    folder = folder or default_weights_folder()
    mirror = os.environ.get("OCTAVO_MIRROR", "")
    remote = re.match(r"https?://", mirror) is not None
    roots = [folder] if remote or not mirror else [folder, Path(mirror) / "weights"]
    found = next((root / file for root in roots for file in files if (root / file).is_file()), None)
    if found is None and remote:
        found = _fetch(mirror, files, folder)
    if found is None:
        places = " or ".join(str(root) for root in roots) + (f" or {mirror}/weights" if remote else "")
        raise WeightsError(
            f"no weights for {name} in {places}. Put one of these there: {', '.join(files)} - or set OCTAVO_MIRROR "
            "to a folder or address that has `weights/` with it, or train without `pretrained`."
        )
    _check_digest(found)
    return found


def _fetch(mirror: str, files: Sequence[str], folder: Path) -> Path | None:
    """Download the first file the mirror has into the folder."""
    downloader = pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUT_S)
    for file in files:
        target = folder / file
        url = f"{mirror.rstrip('/')}/weights/{file}"
        try:
            pooch.retrieve(url, known_hash=None, fname=target.name, path=target.parent, downloader=downloader)
        except OSError:  # requests' errors are OSErrors: not there, or not reachable
            continue
        return target
    return None


def _check_digest(path: Path) -> None:
    """Published names like `resnet18-f37072fd.pth` end with the first digits of the file's SHA-256."""
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    if match is None:
        return
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(match[1]):
        raise WeightsError(f"{path} is damaged: its SHA-256 starts with {digest[:8]}, its name says {match[1]}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors` file or a `.pth` that holds nothing but tensors.

    Raises:
        WeightsError: unreadable, or it holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own, the pickle reader any at all
        raise WeightsError(f"{path} is no readable weights file: {error}") from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{path} does not hold tensors by name")
    return dict(loaded)


def adapt_weights(weights: Mapping[str, Tensor], model: nn.Module, num_classes: int) -> dict[str, Tensor]:
    """A complete state for `model`: the weights, with another head or other input channels where they differ.

    A tensor that differs in its first size only, where the model's is `num_classes`, belongs to the head and stays
    as initialised. A first convolution is summed over the picture channels for grey input, else repeated and scaled.
    Auxiliary heads in the weights are left out.

    Raises:
        WeightsError: any other difference.
    """
    state = dict(model.state_dict())
    weights = {_current_name(key): value for key, value in weights.items() if not key.lower().startswith("aux")}
    first = next(f"{path}.weight" for path, m in model.named_modules() if isinstance(m, nn.Conv2d))
    unexpected = sorted(set(weights) - set(state))
    missing = sorted(key for key in set(state) - set(weights) if not key.endswith("num_batches_tracked"))
    if unexpected or missing:
        raise WeightsError(f"the weights are of another network: missing {missing[:3]}, unexpected {unexpected[:3]}")
    for key, own in state.items():
        value = weights.get(key, own)
        head = own.shape[1:] == value.shape[1:] and own.shape[:1] == (num_classes,)
        if own.shape == value.shape:
            state[key] = value
        elif key == first and own.shape[0] == value.shape[0]:
            state[key] = adapt_input_channels(value, own.shape[1])
        elif not head:
            raise WeightsError(f"{key} is {tuple(value.shape)} in the weights, {tuple(own.shape)} in the network")
    return state


def _current_name(key: str) -> str:
    """Published DenseNet files still say `norm.1.weight` for what is `norm1.weight` now."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def adapt_input_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution [O, I, h, w] for another number of input channels, with outputs of the same size."""
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
    return repeated * (given / channels)
