"""`octavo convert weights.pth out.safetensors`: on the user's own machine, never on the platform."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from libs.client.cli.output import console, size
from libs.client.errors import LocalFileError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")


def convert(
    source: Annotated[Path, typer.Argument(help="A PyTorch file: .pth, .pt, .bin or .ckpt.")],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Turn PyTorch weights into safetensors, on this machine. Only tensors are read, no pickled programs."""
    if target.exists() and not force:
        raise LocalFileError(f"{target} exists; --force writes over it.")
    if target.suffix != ".safetensors":
        raise typer.BadParameter("The file to write ends in .safetensors.")
    tensors = read_weights(source)
    write_safetensors(tensors, target)
    console().print(f"Written: {target}, {len(tensors)} tensors, {size(target.stat().st_size)}", markup=False)
    console().print(f"Next: octavo models import NAME {target}", markup=False)


def read_weights(source: Path) -> dict[str, Any]:
    """The tensors of a PyTorch file by name, unpacked from the usual wrappers.

    Raises:
        LocalFileError: it cannot be read, holds more than weights, or torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise LocalFileError("This needs torch: pip install torch safetensors.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with the file is said below
            found = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise LocalFileError(f"{source} cannot be read: {error.strerror or error}.") from None
    except Exception:  # torch's own words recommend to run what the file holds: not repeated
        raise LocalFileError(
            f"{source} holds more than weights, or is no PyTorch file; nothing in it was run. "
            "Save the state_dict alone where it was trained: torch.save(model.state_dict(), 'weights.pth')."
        ) from None
    inner = _unwrapped(found)
    tensors = {key: value for key, value in inner.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise LocalFileError(f"{source} holds no named tensors.")
    return {str(key).removeprefix("module."): value for key, value in tensors.items()}


def _unwrapped(found: object) -> dict[Any, Any]:
    """The innermost dict below the usual names; empty when there is none."""
    if not isinstance(found, dict):
        return {}
    for name in _WRAPPERS:
        if isinstance(found.get(name), dict):
            return _unwrapped(found[name])
    return found


def write_safetensors(tensors: dict[str, Any], target: Path) -> None:
    """Write tensors, each with memory of its own."""
    from safetensors.torch import save_file

    unfinished = target.with_name(f".{target.name}.part")
    try:
        save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, unfinished)
        unfinished.replace(target)
    except OSError as error:
        raise LocalFileError(f"{target} cannot be written: {error.strerror or error}.") from None
