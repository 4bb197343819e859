"""Label augmentation: indices, aggregation, and that four passes are enough."""

import pytest
import torch

from libs.models.backbones.build import build_classifier
from libs.models.frskd.augmentation_label import aggregate, joint_targets, rotate_all
from libs.models.frskd.method import FRSKD, LevelError
from libs.models.frskd.objective import attention_distance
from libs.training.distillation import kd_loss
from libs.training.mixing import MixedTargets


def test_row_4b_plus_k_is_picture_b_turned_k_times():
    pictures = torch.rand(3, 2, 4, 4)
    rotated = rotate_all(pictures)
    assert torch.equal(rotated[::4], pictures)
    assert torch.equal(rotated[4 * 2 + 3], torch.rot90(pictures[2], 3, (1, 2)))


def test_joint_index_is_4c_plus_k():
    assert joint_targets(torch.tensor([2, 0])).tolist() == [8, 9, 10, 11, 0, 1, 2, 3]


def test_joint_distributions_agree_with_joint_indices():
    labels = torch.tensor([2, 0, 1])
    one_hot = torch.nn.functional.one_hot(labels, 3).float()
    expected = torch.nn.functional.one_hot(joint_targets(labels), 12).float()
    assert torch.equal(joint_targets(one_hot), expected)


def test_aggregate_averages_the_matching_rotation():
    joint = torch.randn(8, 12)
    expected = torch.stack([torch.stack([joint[4 * b + k, k::4] for k in range(4)]).mean(0) for b in range(2)])
    torch.testing.assert_close(aggregate(joint), expected)


def five_pass_total(model, pictures, labels):
    """The published step: a plain pass and a pass over all four rotations, everything on the concatenation."""
    plain, rotated = model.run(pictures), model.run(rotate_all(pictures))
    joint_c = model.joint_classifier(rotated.features[-1])
    joint_t = model.joint_self_teacher(rotated.refined[-1])
    z_c, z_t = plain.logits, plain.teacher_logits
    agg_c, agg_t = aggregate(joint_c), aggregate(joint_t)
    ce = torch.nn.functional.cross_entropy
    total = ce(z_c, labels) + ce(z_t, labels)
    total = total + ce(joint_c, joint_targets(labels)) + ce(joint_t, joint_targets(labels))
    total = total + kd_loss(z_c, agg_c, 4.0) + kd_loss(z_t, agg_t, 4.0)
    total = total + model.alpha * kd_loss(torch.cat([z_c, agg_c]), torch.cat([z_t, agg_t]), 4.0)
    features = [torch.cat(pair) for pair in zip(plain.features, rotated.features, strict=True)]
    refined = [torch.cat(pair) for pair in zip(plain.refined, rotated.refined, strict=True)]
    distances = [attention_distance(f, t).mean() for f, t in zip(features, refined, strict=True)]
    return total + model.beta * sum(distances)


def sla_model(**options):
    torch.manual_seed(0)
    return FRSKD(
        build_classifier("wrn-10-1", 3), [], 3, example=torch.zeros(1, 3, 16, 16), beta=10.0, sla=True, **options
    )


def test_four_passes_equal_five_with_fixed_batch_norm():
    model = sla_model().eval()
    pictures, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 2, 1])
    gradients = []
    totals = []
    for total in (model(pictures, labels).total, five_pass_total(model, pictures, labels)):
        model.zero_grad()
        total.backward()
        totals.append(total.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(totals[0], totals[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_mixed_targets_reach_the_joint_heads():
    model = sla_model().eval()
    pictures, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    plain = model(pictures, labels)
    same = model(pictures, MixedTargets(labels, labels, 0.3))
    assert set(same.losses) == set(plain.losses)
    for name, loss in plain.losses.items():
        torch.testing.assert_close(same.losses[name], loss)


def test_every_parameter_learns():
    model = sla_model(class_weights=torch.tensor([0.5, 1.0, 1.5]))
    model(torch.randn(2, 3, 16, 16), torch.tensor([0, 2])).total.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_pictures_that_are_not_square_are_refused():
    with pytest.raises(LevelError, match="square"):
        FRSKD(build_classifier("wrn-10-1", 3), [], 3, example=torch.zeros(1, 3, 16, 32), sla=True)
