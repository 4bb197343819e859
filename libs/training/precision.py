"""Mixed precision: which, and the context and scaler that go with it."""

from dataclasses import dataclass
from typing import Literal

import torch

Amp = Literal["auto", "off", "bfloat16", "float16"]


class DeviceError(RuntimeError):
    """The device asked for is not there, or does not compute what is asked of it."""

    user_error = True


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        DeviceError: this machine, or this build of torch, does not have it.
    """
    device = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(f"{name} was asked for, but torch {torch.__version__} sees {count} GPUs here")
    return device


@dataclass(frozen=True, slots=True)
class Precision:
    """What the forward pass computes in. `dtype` None: full precision."""

    device_type: str
    dtype: torch.dtype | None

    def autocast(self) -> torch.autocast:
        """The context of a forward pass. Losses leave it in float32."""
        return torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss for float16 gradients; does nothing in any other precision."""
        return torch.amp.GradScaler(self.device_type, enabled=self.dtype is torch.float16)


def precision_for(amp: Amp, device: torch.device) -> Precision:
    """Resolve `auto` for a device.

    Raises:
        DeviceError: float16 on a CPU, which computes it slower than float32.
    """
    if amp == "float16" and device.type == "cpu":
        raise DeviceError("amp float16 needs a GPU; on a CPU use bfloat16 or off")
    if amp == "auto":
        amp = _best_on(device)
    dtypes = {"off": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return Precision(device.type, dtypes[amp])


def _best_on(device: torch.device) -> Literal["off", "bfloat16", "float16"]:
    if device.type != "cuda":
        return "off"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
