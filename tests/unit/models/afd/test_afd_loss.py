"""The feature loss of AFD: properties, and the fast form against two plain loops over the pairs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from libs.models.afd.network import AFDLoss
from libs.models.afd.objective import automatic_beta, map_distances

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
SHAPES = st.lists(st.tuples(st.integers(1, 6), SIDES), min_size=1, max_size=4)


def features(shapes, batch=4, *, grad=False, seed=0):
    """Random ReLU features [B, C, H, W] in float64."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(batch, c, *size, generator=generator, dtype=torch.float64).relu() for c, size in shapes]
    return [one.requires_grad_(grad) for one in made]


def loss_for(students, teachers, width=8, mode="paper"):
    torch.manual_seed(1)
    loss = AFDLoss([h.shape[1] for h in students], [h.shape[1] for h in teachers], width, mode)
    return loss.to(students[0].dtype)


def naive(loss: AFDLoss, students: list[Tensor], teachers: list[Tensor]) -> Tensor:
    """L_AFD by the definition: one pair after the other, one batch norm a feature."""
    attention, d = loss.attention, loss.attention.width

    def norm(rows, whole, part):
        cut = slice(part * d, (part + 1) * d)
        return F.batch_norm(rows, None, None, whole.weight[cut], whole.bias[cut], training=True)

    keys = []
    for s, (project, h) in enumerate(zip(attention.key, students, strict=True)):
        keys.append(norm(project(h.mean((2, 3))), attention.key_norm, s).relu())
    stacked = attention.bilinear(torch.cat(keys))  # rows of one student feature after those of another
    bilinear = F.batch_norm(
        stacked, None, None, attention.bilinear_norm.weight, attention.bilinear_norm.bias, training=True
    )
    total = torch.zeros((), dtype=students[0].dtype)
    for t, teacher in enumerate(teachers):
        query = norm(attention.query[t](teacher.mean((2, 3))), attention.query_norm, t)
        logits, distances = [], []
        for s, student in enumerate(students):
            key = bilinear.chunk(len(students))[s][:, t * d : (t + 1) * d]
            position = attention.teacher_position[t] @ attention.student_position[s]
            logits.append(((query * key).sum(1) + position) / math.sqrt(d))
            resized = F.adaptive_avg_pool2d(student.square().mean(1), teacher.shape[2:]).flatten(1)
            own = teacher.square().mean(1).flatten(1)
            difference = F.normalize(resized, dim=1, eps=1e-12) - F.normalize(own, dim=1, eps=1e-12)
            distances.append(difference.square().mean(1))
        alpha = torch.stack(logits, 1).softmax(1)
        total = total + (alpha * torch.stack(distances, 1)).sum(1).mean()
    return total


@given(student_shapes=SHAPES, teacher_shapes=SHAPES, zero=st.booleans())
@settings(max_examples=25)
def test_the_fast_form_is_the_plain_one(student_shapes, teacher_shapes, zero):
    students, teachers = features(student_shapes, grad=True), features(teacher_shapes, seed=1)
    if zero:
        with torch.no_grad():
            students[0][0], teachers[-1][1] = 0, 0
    loss = loss_for(students, teachers)
    inputs = [*students, *loss.parameters()]
    fast, plain = loss(students, teachers).loss, naive(loss, students, teachers)
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad(value, inputs, allow_unused=True) for value in (fast, plain)]
    for one, other in zip(*gradients, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@given(student_shapes=SHAPES, teacher_shapes=SHAPES)
@settings(max_examples=15)
def test_attention_sums_to_one_over_the_student_and_distances_are_none_below_zero(student_shapes, teacher_shapes):
    students, teachers = features(student_shapes), features(teacher_shapes, seed=1)
    linked = loss_for(students, teachers)(students, teachers)
    torch.testing.assert_close(linked.attention.sum(2), torch.ones_like(linked.attention[:, :, 0]))
    assert linked.distances.min() >= 0
    assert linked.distances.shape == (4, len(teachers), len(students))


def test_student_features_in_another_order_are_attention_in_another_order():
    shapes = [(3, (8, 8)), (5, (4, 4)), (2, (2, 2))]
    students, teachers = features(shapes), features(shapes[:2], seed=1)
    loss, order = loss_for(students, teachers).eval(), [2, 0, 1]
    before = loss(students, teachers)
    attention, width = loss.attention, loss.attention.width
    attention.key = torch.nn.ModuleList([attention.key[s] for s in order])
    channels = torch.cat([torch.arange(s * width, (s + 1) * width) for s in order])
    with torch.no_grad():
        attention.student_position.copy_(attention.student_position[order])
        for values in (*attention.key_norm.parameters(), *list(attention.key_norm.buffers())[:2]):
            values.copy_(values[channels])
    after = loss([students[s] for s in order], teachers)
    torch.testing.assert_close(after.attention, before.attention[:, :, order])
    torch.testing.assert_close(after.loss, before.loss)


def test_a_pair_of_equal_maps_costs_nothing():
    (feature,) = features([(6, (7, 5))])
    assert loss_for([feature], [feature])([feature], [feature.clone()]).loss < 1e-15


def test_the_teacher_gets_no_gradient_and_the_attention_network_does():
    students, teachers = features([(3, (4, 4)), (4, (2, 2))], grad=True), features([(5, (4, 4))], grad=True, seed=1)
    loss = loss_for(students, teachers)
    loss(students, teachers).loss.backward()
    assert all(teacher.grad is None for teacher in teachers)
    assert all(student.grad is not None for student in students)
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert loss.attention.query[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_features_inside_autocast_give_the_loss_of_float32(dtype):
    shapes = [(4, (8, 8)), (6, (4, 4))]
    students, teachers = (
        [(400 * h / h.amax()).to(dtype) for h in features(shapes, seed=seed)] for seed in (0, 1)
    )  # 400^2 is more than float16 holds
    students[0][0] = 0
    loss = loss_for([h.float() for h in students], teachers)
    expected = loss([h.float() for h in students], [h.float() for h in teachers]).loss
    with torch.autocast("cpu", torch.bfloat16):
        found = loss([h.requires_grad_() for h in students], teachers).loss
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    found.backward()
    assert all(h.grad.isfinite().all() and h.grad.dtype == dtype for h in students)


def test_the_memory_format_changes_nothing():
    shapes = [(4, (6, 6)), (8, (3, 3))]
    students, teachers = features(shapes), features(shapes, seed=1)
    loss = loss_for(students, teachers)
    turned = [[h.to(memory_format=torch.channels_last) for h in side] for side in (students, teachers)]
    torch.testing.assert_close(loss(students, teachers).loss, loss(*turned).loss)


def test_the_sum_is_the_mean_times_the_positions():
    students, teachers = ([h.square().mean(1) for h in features([(3, (8, 6)), (3, (4, 4))], seed=s)] for s in (0, 1))
    mean, total = (map_distances(students, teachers, mode) for mode in ("paper", "sum"))
    torch.testing.assert_close(total, mean * torch.tensor([48.0, 16.0]).view(1, 2, 1))


def test_one_picture_is_too_few_for_a_training_batch_and_enough_for_evaluation():
    students, teachers = features([(3, (4, 4))], batch=1), features([(3, (4, 4))], batch=1, seed=1)
    loss = loss_for(students, teachers)
    with pytest.raises(ValueError, match="at least 2 pictures in a training batch, got 1"):
        loss(students, teachers)
    assert loss.eval()(students, teachers).loss.isfinite()


def test_no_features_are_refused():
    with pytest.raises(ValueError, match="at least one student feature and one teacher feature"):
        AFDLoss([], [3])


def test_beta_grows_with_the_area_in_paper_mode():
    assert automatic_beta((32, 32), "paper") == 200
    assert automatic_beta((16, 16), "paper") == 50
    assert automatic_beta((64, 32), "paper") == 400
    assert automatic_beta((224, 224), "sum") == automatic_beta((8, 8), "sum") == 0.8


def test_the_published_size_of_the_attention_network():
    """543,488 parameters for WRN-40-2 over WRN-16-2, every block linked: 18 teacher and 6 student features."""
    channels = [32, 64, 128]
    loss = AFDLoss([c for c in channels for _ in range(2)], [c for c in channels for _ in range(6)])
    assert sum(parameter.numel() for parameter in loss.parameters()) == 543_488
