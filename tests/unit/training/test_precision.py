import pytest
import torch

from libs.training.precision import DeviceError, device_of, precision_for

CPU = torch.device("cpu")


def test_a_cpu_computes_in_full_precision_unless_told() -> None:
    assert precision_for("auto", CPU).dtype is None
    assert precision_for("off", CPU).dtype is None
    assert precision_for("bfloat16", CPU).dtype is torch.bfloat16


def test_bfloat16_products_leave_losses_in_float32() -> None:
    layer, inputs = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with precision_for("bfloat16", CPU).autocast():
        outputs = layer(inputs)
        loss = torch.nn.functional.cross_entropy(outputs.float(), torch.tensor([0, 1]))
    assert outputs.dtype is torch.bfloat16
    assert loss.dtype is torch.float32
    with precision_for("off", CPU).autocast():
        assert layer(inputs).dtype is torch.float32


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(DeviceError, match="needs a GPU") as refused:
        precision_for("float16", CPU)
    assert refused.value.user_error, "another try would end the same way"


def test_only_float16_scales_its_loss() -> None:
    assert not precision_for("bfloat16", CPU).scaler().is_enabled()
    assert not precision_for("off", CPU).scaler().is_enabled()


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"cuda:63 was asked for.*sees \d+ GPUs"):
        device_of("cuda:63")
    assert device_of("cpu") == CPU
