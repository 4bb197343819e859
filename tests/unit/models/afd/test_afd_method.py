"""AFD as a step module: terms, taps, unlabelled pictures, and that the teacher is only a guest."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.data.recipe import Recipe
from libs.models.afd.method import AFD, TapChoiceError
from libs.models.backbones.build import build_classifier
from libs.models.teacher import Teacher, TeacherView
from libs.serving.bundle import ClassifierBundle, Lineage
from libs.training.distillation import kd_loss
from libs.training.taps import forward_with_taps

EXAMPLE = torch.zeros(1, 3, 16, 16)
CLASSES = 4
NO_MAPS = nn.Sequential(nn.Flatten(), nn.Linear(768, CLASSES))
DEEP = nn.Sequential(nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(70))), nn.Flatten(), nn.Linear(768, CLASSES))


def teacher_of(network: nn.Module, size: int = 16) -> Teacher:
    recipe = Recipe(channels=3, height=size, width=size, mean=[0.5] * 3, std=[0.25] * 3)
    labels = [f"class {k}" for k in range(CLASSES)]
    bundle = ClassifierBundle(
        architecture="resnet14",
        labels=labels,
        recipe=recipe,
        inputs=[],
        outputs=[],
        lineage=Lineage(method="supervised"),
    )
    return Teacher(bundle, network, TeacherView(None, None, None))


def method_of(teacher: nn.Module | None = None, student: nn.Module | None = None, **options) -> AFD:
    torch.manual_seed(0)
    student = student or build_classifier("resnet8", CLASSES)
    return AFD(student, teacher_of(teacher or build_classifier("resnet14", CLASSES)), example=EXAMPLE, **options)


def batch(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 16, 16, generator=generator), torch.arange(count) % CLASSES


def test_the_total_is_the_weighted_sum_of_its_terms():
    method, (pictures, labels) = method_of(kd_weight=0.5, beta=3.0, temperature=2.0), batch()
    output = method(pictures, labels)
    teacher_logits, teacher_features = forward_with_taps(method.teacher.network, method.teacher_taps, pictures)
    logits, features = forward_with_taps(method.classifier, method.student_taps, pictures)
    expected = {
        "ce_classifier": F.cross_entropy(logits, labels),
        "kd": kd_loss(logits, teacher_logits, 2.0),
        "feature": method.afd(features, teacher_features).loss,
    }
    assert output.losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(output.losses[name], value)
    total = expected["ce_classifier"] + 0.5 * expected["kd"] + 3 * expected["feature"]
    torch.testing.assert_close(output.total, total)
    assert torch.equal(output.extras["teacher_logits"], teacher_logits)


def test_terms_of_weight_zero_are_not_built():
    soft = method_of(beta=0)
    assert (soft.afd, soft.student_taps, soft.teacher_taps) == (None, (), ())
    assert soft(*batch()).losses.keys() == {"ce_classifier", "kd"}
    assert sum(p.numel() for p in soft.parameters()) == sum(p.numel() for p in soft.classifier.parameters())
    linked = method_of(kd_weight=0)
    assert linked(*batch()).losses.keys() == {"ce_classifier", "feature"}
    with pytest.raises(ValueError, match="no features are linked"):
        soft.links(batch()[0])


def test_every_trained_parameter_gets_a_gradient_and_the_teacher_stays_as_it_was():
    method = method_of().train()
    before = copy.deepcopy(method.teacher.network.state_dict())
    method(*batch()).total.backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    network = method.teacher.network
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_teacher_is_in_no_state_and_shared_by_copies():
    method = method_of()
    assert not any("teacher." in name for name in method.state_dict())
    assert copy.deepcopy(method).teacher is method.teacher
    assert method.classifier.state_dict().keys() == build_classifier("resnet8", CLASSES).state_dict().keys()


def test_unlabelled_pictures_join_the_terms_without_labels_only():
    method, (pictures, labels) = method_of().eval(), batch()
    unlabelled, _ = batch(9, seed=1)
    alone, beside, all_of_them = (
        method(pictures, labels),
        method(pictures, unlabelled, labels),
        method(torch.cat([pictures, unlabelled]), torch.zeros(15, dtype=torch.long)),
    )
    torch.testing.assert_close(beside.losses["ce_classifier"], alone.losses["ce_classifier"])
    for name in ("kd", "feature"):
        torch.testing.assert_close(beside.losses[name], all_of_them.losses[name])
        assert not torch.isclose(beside.losses[name], alone.losses[name])
    assert beside.logits.shape == beside.extras["teacher_logits"].shape == (6, CLASSES)


def test_label_distributions_are_targets_too():
    method, (pictures, labels) = method_of().eval(), batch()
    torch.testing.assert_close(
        method(pictures, F.one_hot(labels, CLASSES).float()).total, method(pictures, labels).total
    )


def test_blocks_are_linked_by_default_and_stages_or_globs_on_demand():
    blocks = method_of()
    assert [tap.path for tap in blocks.teacher_taps] == [f"stages.{i}.{k}" for i in range(3) for k in range(2)]
    assert [tap.path for tap in blocks.student_taps] == [f"stages.{i}.0" for i in range(3)]
    assert [tap.path for tap in method_of(level="stage").teacher_taps] == [f"stages.{i}.1" for i in range(3)]
    chosen = method_of(taps_teacher=["stages.*.0"], taps_student=["stages.1.0"])
    assert [tap.path for tap in chosen.teacher_taps] == ["stages.0.0", "stages.1.0", "stages.2.0"]
    assert [tap.path for tap in chosen.student_taps] == ["stages.1.0"]
    assert chosen(*batch()).total.isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps_teacher": ["stages.*.nothing"]}, "taps_teacher: no module of the model matches the tap 'stages"),
        ({"taps_student": ["fc"]}, "taps_student: fc returns no feature map"),
        ({"taps_student": ["*"], "student": NO_MAPS}, "taps_student: 0 returns no feature map"),
        ({"student": NO_MAPS}, "The student: Sequential makes no feature maps.* With beta 0"),
        ({"teacher": NO_MAPS}, "The teacher: Sequential makes no feature maps.* With beta 0"),
        ({"student": DEEP, "taps_student": ["0.*"]}, "taps_student: .*: these are 70 features, at most 64 are linked"),
    ],
)
def test_what_cannot_be_linked_is_refused_and_not_tried_again(options, message):
    with pytest.raises(TapChoiceError, match=message) as refused:
        method_of(**options)
    assert refused.value.user_error


def test_soft_labels_need_the_classes_of_the_student():
    with pytest.raises(ValueError, match="soft labels need a teacher with the student's classes"):
        method_of(shares_classes=False)


def test_a_vision_transformer_teaches_a_convolutional_student():
    """Tokens are seen as maps, the class token apart; its maps have one size, the student's three."""
    vit = build_classifier("timm/vit_tiny_patch16_224", CLASSES, image_size=64)
    teacher = teacher_of(vit, 64)
    teacher.view = TeacherView(None, None, (64, 64))
    method = AFD(build_classifier("resnet8", CLASSES), teacher, example=EXAMPLE)
    assert {(tap.layout, tap.size, tap.prefix_tokens) for tap in method.teacher_taps} == {("tokens", (4, 4), 1)}
    assert len(method.teacher_taps) == 12
    method(*batch()).total.backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:Converting a tensor")  # the tracer looks at tensors
def test_compiles_to_one_graph_of_the_same_losses_and_gradients():
    method = method_of()
    torch.compiler.reset()
    made = []
    for step in (method, torch.compile(method, fullgraph=True, backend="eager")):
        method.zero_grad()
        output = step(*batch())
        output.total.backward()
        made.append([output.losses, output.logits, [p.grad.clone() for p in method.parameters()]])
    torch.testing.assert_close(made[0], made[1])


def test_the_example_of_the_docs_runs_as_printed():
    page = (Path(__file__).parents[4] / "docs" / "methods" / "afd.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # our own page
    assert names["linked"].attention.shape == (8, 6, 3)
    assert names["loss"].isfinite()
