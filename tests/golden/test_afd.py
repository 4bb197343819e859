"""AFD against the published code's arrays."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from libs.models.afd.network import AFDLoss
from libs.training.distillation import kd_loss

METHOD = "afd"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}
NORM_ARRAYS = {"gamma": "weight", "delta": "bias", "mu0": "running_mean", "var0": "running_var"}


def assert_close(actual, expected, what):
    actual = actual.detach().numpy() if isinstance(actual, Tensor) else actual
    np.testing.assert_allclose(actual, expected, **TOLERANCE, err_msg=what)


def features(case, prefix, *, grad):
    numbers = sorted(int(m[1]) for key in case.arrays if (m := re.fullmatch(rf"{prefix}_(\d+)", key)))
    return [torch.from_numpy(case[f"{prefix}_{n}"].copy()).requires_grad_(grad) for n in numbers]


@torch.no_grad()
def load(parameter, array):
    assert tuple(parameter.shape) == array.shape
    parameter.copy_(torch.from_numpy(array))


def load_norm(norm, case, prefixes):
    """One batch norm over the channels of all prefixes."""
    for name, target in NORM_ARRAYS.items():
        load(getattr(norm, target), np.concatenate([case[f"{prefix}_{name}"] for prefix in prefixes]))


def afd_of(case):
    students, teachers = features(case, "H_S", grad=True), features(case, "H_T", grad=False)
    channels = [[feature.shape[1] for feature in side] for side in (students, teachers)]
    loss = AFDLoss(*channels, width=case.scalar("d"))
    attention = loss.attention
    for prefix, projections, norm in (
        ("Q", attention.query, attention.query_norm),
        ("K", attention.key, attention.key_norm),
    ):
        for n, projection in enumerate(projections):
            load(projection.weight, case[f"{prefix}_{n}_W"])
            load(projection.bias, case[f"{prefix}_{n}_b"])
        load_norm(norm, case, [f"{prefix}_{n}" for n in range(len(projections))])
    load(attention.bilinear.weight, case["B_W"])
    load(attention.bilinear.bias, case["B_b"])
    load_norm(attention.bilinear_norm, case, ["B"])
    load(attention.teacher_position, case["P_T"])
    load(attention.student_position, case["P_S"])
    return loss.train(case.scalar("mode") == "train"), students, teachers


@pytest.mark.cases("afd_*")
def test_loss_attention_and_gradients(golden_case):
    case = golden_case
    loss, students, teachers = afd_of(case)
    linked = loss(students, teachers)
    linked.loss.backward()
    assert_close(linked.loss, case["L_AFD"], "L_AFD")
    assert_close(linked.attention, case["alpha"], "alpha")
    for s, student in enumerate(students):
        assert_close(student.grad, case[f"dL_dH_S_{s}"], f"dL_dH_S_{s}")
    attention = loss.attention
    gradients = {
        "P_T": attention.teacher_position,
        "P_S": attention.student_position,
        "B_W": attention.bilinear.weight,
        **{f"Q_{n}_W": project.weight for n, project in enumerate(attention.query)},
        **{f"K_{n}_W": project.weight for n, project in enumerate(attention.key)},
    }
    given = [key for key in case.arrays if key.startswith("dL_d") and not key.startswith("dL_dH")]
    assert given
    for key in given:
        assert_close(gradients[key.removeprefix("dL_d")].grad, case[key], key)
    assert_close(attention.bilinear_norm.running_mean, case["B_mu1"], "B_mu1")
    assert_close(attention.bilinear_norm.running_var, case["B_var1"], "B_var1")


@pytest.mark.cases("afd_*")
def test_queries_and_keys(golden_case):
    loss, students, teachers = afd_of(golden_case)
    assert_close(loss.attention.queries([h.mean((2, 3)) for h in teachers]), golden_case["q"], "q")
    assert_close(loss.attention.bilinear_keys([h.mean((2, 3)) for h in students]), golden_case["kB"], "kB")


@pytest.mark.cases("kd_*")
def test_soft_labels(golden_case):
    student = torch.from_numpy(golden_case["z_S"].copy()).requires_grad_()
    teacher = torch.from_numpy(golden_case["z_T"].copy()).requires_grad_()
    loss = kd_loss(student, teacher, golden_case.scalar("T"))
    loss.backward()
    assert_close(loss, golden_case["L_KD"], "L_KD")
    assert_close(student.grad, golden_case["dL_dz_S"], "dL_dz_S")
    assert (teacher.grad is None) == golden_case.scalar("grad_z_T_is_none")
