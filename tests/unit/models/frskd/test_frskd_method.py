"""FRSKD as a module: who gets which gradient, levels, precision, options, copies."""

import copy

import pytest
import torch
from torch import nn

from libs.models.backbones.build import build_classifier
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.method import FRSKD, LevelError
from libs.training.classification import classifier_session
from libs.training.distillation import kd_loss
from libs.training.mixing import MixedTargets
from libs.training.processes import Processes
from libs.training.taps import UnknownTapError

CLASSES = 4


def model_of(name="wrn-10-1", size=16, seed=0, **options):
    torch.manual_seed(seed)
    options = {"alpha": 2.0, "beta": 10.0} | options
    taps = options.pop("taps", [])
    return FRSKD(build_classifier(name, CLASSES), taps, CLASSES, example=torch.zeros(1, 3, size, size), **options)


def batch(size=16, count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(count, 3, size, size, generator=generator)
    return pictures, torch.randint(CLASSES, (count,), generator=generator)


def reached(model):
    """Which parts got a non-zero gradient: (backbone, classifier head, self-teacher)."""

    def any_gradient(parameters):
        return any(p.grad is not None and bool(p.grad.any()) for p in parameters)

    head = set(model.classifier.fc.parameters())
    backbone = [p for p in model.classifier.parameters() if p not in head]
    return any_gradient(backbone), any_gradient(head), any_gradient(model.self_teacher.parameters())


GRADIENT_TABLE = {
    "ce_classifier": (True, True, False),
    "ce_self_teacher": (True, False, True),
    "kd": (True, True, False),
    "feature": (True, False, False),
}


@pytest.mark.parametrize("variant", ["channel", "constant"])
@pytest.mark.parametrize("term", GRADIENT_TABLE)
def test_gradient_table(term, variant):
    model = model_of(variant=variant, constant_channels=8)
    model(*batch()).losses[term].backward()
    assert reached(model) == GRADIENT_TABLE[term]


@pytest.mark.parametrize("term", GRADIENT_TABLE)
def test_gradient_table_with_detached_inputs(term):
    model = model_of(detach_inputs=True)
    model(*batch()).losses[term].backward()
    expected = (False, False, True) if term == "ce_self_teacher" else GRADIENT_TABLE[term]
    assert reached(model) == expected


def test_without_distillation_the_backbone_still_learns_from_the_self_teacher():
    model = model_of(alpha=0.0, beta=0.0)
    pictures, labels = batch()
    step = model(pictures, labels)
    step.total.backward()
    with_teacher = model.classifier.conv1.weight.grad.clone()
    model.zero_grad()
    step = model(pictures, labels)
    step.losses["ce_classifier"].backward()
    assert not torch.allclose(with_teacher, model.classifier.conv1.weight.grad)


def test_total_is_the_weighted_sum_and_the_teacher_logits_are_reported():
    step = model_of()(*batch())
    losses = step.losses
    expected = losses["ce_classifier"] + losses["ce_self_teacher"] + 2 * losses["kd"] + 10 * losses["feature"]
    torch.testing.assert_close(step.total, expected)
    assert step.weights == {"ce_classifier": 1.0, "ce_self_teacher": 1.0, "kd": 2.0, "feature": 10.0}
    assert step.extras["self_teacher_logits"].shape == step.logits.shape == (4, CLASSES)
    torch.testing.assert_close(step.extras["feature_levels"].sum(), losses["feature"].detach())
    assert not any(tensor.requires_grad for tensor in step.extras.values())


def test_every_parameter_gets_a_gradient_so_that_ddp_needs_no_search():
    for options in ({}, {"feature_loss": "fit"}, {"repeats": 2}, {"variant": "constant", "num_features": 2}):
        model = model_of(**options)
        model(*batch()).total.backward()
        assert all(p.grad is not None for p in model.parameters()), options


def test_fit_blocks_of_an_unweighted_feature_term_are_frozen():
    model = model_of(feature_loss="fit", beta=0.0)
    model(*batch()).total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in model.fit.parameters())


def test_classifier_keeps_its_own_keys_and_hooks():
    model, plain = model_of(), build_classifier("wrn-10-1", CLASSES)
    model(*batch())
    assert list(model.classifier.state_dict()) == list(plain.state_dict())
    assert not any(m._forward_hooks for m in model.modules())
    assert {name.split(".")[0] for name in model.state_dict()} == {"classifier", "self_teacher"}


def test_a_copy_is_independent():
    model = model_of().eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.classifier.parameters():
            parameter.zero_()
    pictures, labels = batch()
    assert not torch.allclose(twin(pictures, labels).logits, model(pictures, labels).logits)
    assert twin(pictures, labels).losses["feature"] != model(pictures, labels).losses["feature"]


def test_mixed_targets_are_the_mixture_of_both_losses():
    model = model_of().eval()
    pictures, labels = batch()
    other = labels.flip(0)
    mixed = model(pictures, MixedTargets(labels, other, 0.7)).losses
    first, second = model(pictures, labels).losses, model(pictures, other).losses
    for term in ("ce_classifier", "ce_self_teacher"):
        torch.testing.assert_close(mixed[term], 0.7 * first[term] + 0.3 * second[term])
    for term in ("kd", "feature"):
        torch.testing.assert_close(mixed[term], first[term])


def test_beta_is_chosen_from_the_size_of_the_pictures():
    assert model_of(beta=None).beta == 25.0
    assert model_of(beta=None, beta_mode="sum").beta == 0.4


@pytest.mark.parametrize("feature_loss", ["attention", "fit"])
def test_losses_are_float32_under_autocast(feature_loss):
    model = model_of(feature_loss=feature_loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model(*batch())
    assert step.logits.dtype == torch.float32
    assert all(loss.dtype == torch.float32 for loss in step.losses.values())
    step.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_training_in_bfloat16_stays_finite():
    config = FrskdConfig(model="resnet8", amp="bfloat16", lr=0.05)
    session = classifier_session(model_of("resnet8", size=8), config, "cpu", Processes(), total_steps=5)
    for seed in range(5):
        session.optimise(*batch(8, 8, seed))
    assert session.window.check().shape == (5, len(GRADIENT_TABLE) + 1)
    assert all(parameter.isfinite().all() for parameter in session.module.parameters())


def test_losses_under_autocast_are_those_of_float32_logits():
    model, (pictures, labels) = model_of(), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model(pictures, labels)
    expected = kd_loss(step.logits, step.extras["self_teacher_logits"], model.temperature)
    assert torch.equal(step.losses["kd"], expected)
    assert torch.equal(step.losses["ce_classifier"], model.cross_entropy(step.logits, labels))


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:Converting a tensor")  # the tracer looks at tensors
@pytest.mark.parametrize(("options", "backend"), [({}, "aot_eager"), ({"sla": True}, "eager")], ids=["plain", "sla"])
def test_compiles_to_one_graph_of_the_same_losses_and_gradients(options, backend):
    model = model_of("resnet8", size=8, num_features=2, depth=1, **options)
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    made = []
    for step_module in (model, compiled):
        model.zero_grad()
        step = step_module(*batch(8))
        step.total.backward()
        made.append([step.losses, step.weights, step.logits, step.extras, [p.grad.clone() for p in model.parameters()]])
    torch.testing.assert_close(made[0], made[1])


def test_channels_last_gives_the_same_losses():
    model = model_of().eval()
    pictures, labels = batch()
    expected = model(pictures, labels).losses
    twin = copy.deepcopy(model).to(memory_format=torch.channels_last)
    actual = twin(pictures.to(memory_format=torch.channels_last), labels).losses
    for name, loss in expected.items():
        torch.testing.assert_close(actual[name], loss, rtol=1e-4, atol=1e-5)


def test_levels_of_one_position_are_dropped():
    model = model_of("resnet18", size=8, num_features=None)  # 8, 4, 2, 1 pixels
    assert [tap.size for tap in model.taps] == [(8, 8), (4, 4), (2, 2)]


def test_last_levels_only():
    assert [tap.size for tap in model_of("resnet20", num_features=2).taps] == [(8, 8), (4, 4)]


def test_odd_sizes_train():
    model = model_of("wrn-10-1", size=15)
    assert [tap.size for tap in model.taps] == [(15, 15), (8, 8), (4, 4)]
    model(*batch(15)).total.backward()


def test_neighbours_of_equal_resolution_are_allowed():
    model = model_of("resnet14", taps=["stages.0.*", "stages.1.1"])
    assert [tap.path for tap in model.taps[:2]] == ["stages.0.0", "stages.0.1"]
    model(*batch()).total.backward()


def test_levels_that_grow_are_refused():
    with pytest.raises(LevelError, match=r"from fine to coarse, but stages\.0\.0"):
        model_of("resnet8", taps=["stages.1.0", "stages.0.0"])


def test_one_level_is_refused():
    with pytest.raises(LevelError, match="at least 2 levels") as error:
        model_of("resnet8", taps=["stages.1.0"])
    assert error.value.user_error  # the same again would end the same way: no retry


def test_unknown_tap_names_the_nearest():
    with pytest.raises(UnknownTapError, match=r"stages\.0"):
        model_of("resnet8", taps=["stage.0"])


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": -1.0}, {"temperature": 0.0}])
def test_weights_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="at least 0"):
        model_of(**options)


def test_attention_maps_are_unit_maps_of_each_level():
    model = model_of().eval()
    maps = model.attention_maps(batch()[0])
    assert [m.shape for m in maps.classifier] == [(4, *tap.size) for tap in model.taps]
    for one in (*maps.classifier, *maps.self_teacher):
        torch.testing.assert_close(one.flatten(1).norm(dim=1), torch.ones(4))


def test_training_lowers_the_feature_distance_and_resumes_exactly():
    pictures, labels = batch(8, 16)

    def losses(model, optimiser, count):
        made = []
        for _ in range(count):
            optimiser.zero_grad()
            step = model(pictures, labels)
            step.total.backward()
            optimiser.step()
            made.append(step.total.item())
        return made

    def fresh():
        model = model_of("resnet8", size=8, beta=6.25)
        return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    model, optimiser = fresh()
    first = losses(model, optimiser, 5)
    saved = copy.deepcopy((model.state_dict(), optimiser.state_dict()))
    rest = losses(model, optimiser, 20)
    again, again_optimiser = fresh()
    again.load_state_dict(saved[0])
    again_optimiser.load_state_dict(saved[1])
    assert losses(again, again_optimiser, 20) == rest
    assert rest[-1] < first[0]


def test_any_module_can_be_the_classifier():
    torch.manual_seed(0)
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES),
    )  # fmt: skip
    model = FRSKD(classifier, [], CLASSES, example=torch.zeros(1, 1, 8, 8))
    assert [tap.path for tap in model.taps] == ["1", "4"]
    model(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])).total.backward()
