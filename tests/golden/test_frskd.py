"""FRSKD against the published code's arrays."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.frskd.augmentation_label import aggregate, rotate_all
from libs.models.frskd.method import FRSKD
from libs.models.frskd.network import BiFPNLayer, Fusion, SelfTeacher
from libs.models.frskd.objective import attention_distance, attention_map, feature_loss
from libs.models.frskd.segmentation import SegmentationBiFPNLayer
from libs.training.distillation import kd_loss

METHOD = "frskd"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}
NORM_ARRAYS = {"gamma": "weight", "delta": "bias", "mu0": "running_mean", "var0": "running_var"}


def assert_close(actual, expected, what):
    actual = actual.detach().numpy() if isinstance(actual, Tensor) else actual
    np.testing.assert_allclose(actual, expected, **TOLERANCE, err_msg=what)


def tensor(case, key, *, grad=False):
    return torch.from_numpy(case[key].copy()).requires_grad_(grad)


def levels(case, prefix):
    return sorted(int(m[1]) for key in case.arrays if (m := re.fullmatch(rf"{prefix}(\d+)", key)))


def load(parameter, array):
    assert tuple(parameter.shape) == array.shape
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(array))


def load_block(case, prefix, block):
    """Fill a block's convolutions and batch norms in order; every array of the prefix must find its place."""
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    for k, convolution in enumerate(convolutions):
        load(convolution.weight, case[f"{prefix}_conv{k}"])
    for k, norm in enumerate(norms):
        for name, target in NORM_ARRAYS.items():
            load(getattr(norm, target), case[f"{prefix}_bn{k}_{name}"])
    used = len(convolutions) + 4 * len(norms)
    assert used == sum(bool(re.match(rf"{prefix}_(conv|bn)\d", key)) for key in case.arrays)


def load_layer(case, r, layer):
    parts = {
        "lat1": (layer.lateral_down, 0),
        "lat2": (layer.lateral_up, 1),
        "U": (layer.up, 0),
        "Dn": (layer.down, 1),
        "td": (layer.top_down, 0),
        "bu": (layer.bottom_up, 1),
    }
    for name, (blocks, first_level) in parts.items():
        for i, block in enumerate(blocks, start=first_level):
            if list(block.parameters()) or f"r{r}_{name}_{i}_conv0" in case.arrays:
                load_block(case, f"r{r}_{name}_{i}", block)
    for name, fusions, first_level in (("td", layer.top_down_fusion, 0), ("bu", layer.bottom_up_fusion, 1)):
        for i, fusion in enumerate(fusions, start=first_level):
            load(fusion.raw_weights, case[f"r{r}_w_{name}_{i}"])


def self_teacher_of(case, variant):
    n = len(levels(case, "F_"))
    in_channels = [case[f"F_{i}"].shape[1] for i in range(n)]
    refined = [case[f"T_{i}"].shape[1] for i in range(n)]
    repeats = 1 + max(int(m[1]) for key in case.arrays if (m := re.match(r"r(\d+)_", key)))
    network = SelfTeacher(
        in_channels,
        case["fc_W"].shape[0],
        variant=variant,
        width=refined[0] // in_channels[0] if variant == "channel" else 1,
        constant_channels=refined[0],
        depth=case.scalar("depth"),
        repeats=repeats,
    )
    for r, layer in enumerate(network.layers):
        assert isinstance(layer, BiFPNLayer)
        load_layer(case, r, layer)
    load(network.head.weight, case["fc_W"])
    load(network.head.bias, case["fc_b"])
    return network.train(case.scalar("mode") == "train")


def check_self_teacher(case, variant):
    network = self_teacher_of(case, variant)
    features = [tensor(case, f"F_{i}", grad=True) for i in levels(case, "F_")]
    logits, refined = network(features)
    for i, feature in enumerate(refined):
        assert_close(feature, case[f"T_{i}"], f"T_{i}")
    assert_close(logits, case["z_T"], "z_T")
    loss = F.cross_entropy(logits, tensor(case, "y"))
    assert_close(loss, case["CE_T"], "CE_T")
    loss.backward()
    for i, feature in enumerate(features):
        positive = case[f"F_{i}"] > 0
        expected = case[f"dCE_dF_{i}"]
        assert_close(feature.grad.numpy()[positive], expected[positive], f"dCE_dF_{i}")
    check_fusion_gradients(case, network.layers[0])


def check_fusion_gradients(case, layer):
    nodes = {"td": (layer.top_down_fusion, 0), "bu": (layer.bottom_up_fusion, 1)}
    recorded = [m for key in case.arrays if (m := re.fullmatch(r"dCE_dw_(td|bu)_(\d+)", key))]
    assert recorded
    for match in recorded:
        fusions, first_level = nodes[match[1]]
        fusion = fusions[int(match[2]) - first_level]
        assert isinstance(fusion, Fusion)
        assert_close(fusion.raw_weights.grad, case[match[0]], match[0])


def check_bifpn(case):
    check_self_teacher(case, "constant")


def check_bifpnc(case):
    check_self_teacher(case, "channel")


def check_kd(case):
    student, teacher = tensor(case, "z_S", grad=True), tensor(case, "z_T", grad=True)
    loss = kd_loss(student, teacher, case.scalar("T"))
    assert_close(loss, case["L_KD"], "L_KD")
    loss.backward()
    assert_close(student.grad, case["dL_dz_S"], "dL_dz_S")
    assert case.scalar("grad_z_T_is_none")
    assert teacher.grad is None


def check_distill_loss(case):
    count = len(levels(case, "F_"))
    students = [tensor(case, f"F_{i}", grad=True) for i in range(count)]
    teachers = [tensor(case, f"T_{i}", grad=True) for i in range(count)]
    student, teacher = tensor(case, "z_S", grad=True), tensor(case, "z_T", grad=True)
    for i in range(count):
        assert_close(attention_map(students[i]), case[f"phi_F_{i}"], f"phi_F_{i}")
        assert_close(attention_distance(students[i], teachers[i]).mean(), case[f"L_F_{i}"], f"L_F_{i}")
    kd = kd_loss(student, teacher, case.scalar("T"))
    loss = case.scalar("alpha") * kd + case.scalar("beta") * feature_loss(students, teachers)
    assert_close(loss, case["L_distill"], "L_distill")
    loss.backward()
    assert_close(student.grad, case["dL_dz_S"], "dL_dz_S")
    for i in range(count):
        assert_close(students[i].grad, case[f"dL_dF_{i}"], f"dL_dF_{i}")
    assert all(t.grad is None for t in [teacher, *teachers])


class ToyClassifier(nn.Module):
    """3x3 convolutions (all but the first halve the size) with ReLU, global average, linear head."""

    def __init__(self, case):
        super().__init__()
        names = sorted(key for key in case.arrays if re.fullmatch("cls_[a-z]", key))
        self.levels = nn.Sequential()
        for index, name in enumerate(names):
            out_channels, in_channels, *_ = case[name].shape
            convolution = nn.Conv2d(in_channels, out_channels, 3, stride=min(index, 1) + 1, padding=1, bias=False)
            load(convolution.weight, case[name])
            self.levels.extend([convolution, nn.ReLU()])
        self.fc = linear(case, "cls_fc")

    def forward(self, x):
        return self.fc(self.levels(x).mean((2, 3)))


class ToySelfTeacher(nn.Module):
    """A 1x1 convolution with ReLU per level, and a head on the last."""

    def __init__(self, case):
        super().__init__()
        self.levels = nn.ModuleList()
        for name in sorted(key for key in case.arrays if re.fullmatch("st_[a-z]", key)):
            out_channels, in_channels, *_ = case[name].shape
            convolution = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            load(convolution.weight, case[name])
            self.levels.append(convolution)
        self.head = linear(case, "st_fc")

    def forward(self, features):
        refined = [level(feature).relu() for level, feature in zip(self.levels, features, strict=True)]
        return self.head(refined[-1].mean((2, 3))), refined


def linear(case, prefix):
    layer = nn.Linear(*reversed(case[f"{prefix}_W"].shape))
    load(layer.weight, case[f"{prefix}_W"])
    load(layer.bias, case[f"{prefix}_b"])
    return layer


def check_sla_total(case):
    classifier, pictures, labels = ToyClassifier(case), tensor(case, "x"), tensor(case, "y")
    method = FRSKD(
        classifier,
        ["levels.*[13579]"],
        case["cls_fc_W"].shape[0],
        example=pictures,
        alpha=case.scalar("alpha"),
        beta=case.scalar("beta"),
        temperature=case.scalar("T"),
        sla=True,
        sla_weight=case.scalar("lambda_"),
    )
    method.self_teacher = ToySelfTeacher(case)
    for head, prefix in ((method.joint_classifier, "fc1"), (method.joint_self_teacher, "fc2")):
        load(head.weight, case[f"{prefix}_W"])
        load(head.bias, case[f"{prefix}_b"])
    assert_close(rotate_all(pictures), case["x_rot"], "x_rot")
    check_aggregated(case, method)
    step = method(pictures, labels)
    distilled = {"kd", "feature"}
    part = sum(step.weights[name] * loss for name, loss in step.losses.items() if name not in distilled)
    assert_close(part, case["L_SLA_part"], "L_SLA_part")
    assert_close(step.total, case["L_total"], "L_total")
    step.total.backward()
    check_sla_gradients(case, method)


def check_aggregated(case, method):
    made = method.run(rotate_all(tensor(case, "x")))
    joint_c, joint_t = method.joint_classifier(made.features[-1]), method.joint_self_teacher(made.refined[-1])
    assert_close(torch.cat([made.logits[::4], aggregate(joint_c)]), case["z_cat"], "z_cat")
    assert_close(torch.cat([made.teacher_logits[::4], aggregate(joint_t)]), case["zT_cat"], "zT_cat")


def check_sla_gradients(case, method):
    """Every recorded `d_<array>`; one stored as None must be missing or zero here."""
    levels_of = {"cls": list(method.classifier.levels)[::2], "st": list(method.self_teacher.levels)}
    named = {"fc1_W": method.joint_classifier.weight, "fc2_W": method.joint_self_teacher.weight}
    named |= {"fc1_b": method.joint_classifier.bias, "fc2_b": method.joint_self_teacher.bias}
    for net, head in (("cls", method.classifier.fc), ("st", method.self_teacher.head)):
        named |= {f"{net}_{chr(97 + i)}": level.weight for i, level in enumerate(levels_of[net])}
        named |= {f"{net}_fc_W": head.weight, f"{net}_fc_b": head.bias}
    recorded = [key for key in case.arrays if key.startswith("d_")]
    assert recorded
    for key in recorded:
        gradient = named[key.removeprefix("d_")].grad
        if case.arrays[key] is None:
            assert gradient is None or not gradient.any(), key
        else:
            assert_close(gradient, case[key], key)


def check_segmentation(case):
    student, teacher = tensor(case, "z_S", grad=True), tensor(case, "z_T")
    loss = kd_loss(student, teacher, case.scalar("T"))
    assert_close(loss, case["L_KD_seg"], "L_KD_seg")
    loss.backward()
    assert_close(student.grad, case["dL_dz_S"], "dL_dz_S")
    names = sorted(int(m[1]) for key in case.arrays if (m := re.fullmatch(r"P(\d+)_in", key)))
    has_down = any(re.match(r"sd_conv\d+dw", key) for key in case.arrays)
    channels = case[f"P{names[0]}_in"].shape[1]
    layer = SegmentationBiFPNLayer(channels, len(names), top_down_only=not has_down)
    layer.load_state_dict(segmentation_state(case, names))
    outputs = layer.train()([tensor(case, f"P{name}_in") for name in names])
    for name, output in zip(names, outputs, strict=True):
        assert_close(output, case[f"P{name}_out"], f"P{name}_out")


def segmentation_state(case, names):
    """`sd_conv4up__0__weight` is our `up.2.0.weight` when the levels start at 2."""
    state = {}
    for key in case.arrays:
        if match := re.fullmatch(r"sd_conv(\d+)(up|dw)__(.+)", key):
            level = names.index(int(match[1]))
            block = f"up.{level}" if match[2] == "up" else f"down.{level - 1}"
            state[f"{block}.{match[3].replace('__', '.')}"] = torch.from_numpy(case[key].copy())
    return state


CHECKS = {
    "bifpnc_": check_bifpnc,
    "bifpn_": check_bifpn,
    "distill_loss": check_distill_loss,
    "kd_T": check_kd,
    "sla_total": check_sla_total,
    "seg_kd": check_segmentation,
}


def test_golden(golden_case):
    matching = [check for prefix, check in CHECKS.items() if golden_case.name.startswith(prefix)]
    if not matching:
        pytest.fail(f"no adapter for {golden_case.name}; prefixes: {', '.join(CHECKS)}")
    matching[0](golden_case)
