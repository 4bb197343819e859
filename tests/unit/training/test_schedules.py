import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.training.config import ImageTrainingConfig
from libs.training.schedules import cosine, multi_step, schedule_of

steps = st.integers(2, 500)


def rates_of(scheduler_of, steps: int) -> list[float]:
    """Learning rates that a torch scheduler gives an optimiser with lr 1."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = scheduler_of(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("total", [10, 77, 400])
def test_one_cycle_is_torchs(total: int) -> None:
    schedule = schedule_of(ImageTrainingConfig(schedule="one-cycle"), total)
    expected = rates_of(
        lambda optimiser: torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=total + 1), total + 1
    )[:total]
    ours = [schedule_of(ImageTrainingConfig(schedule="one-cycle"), total + 1)(step) for step in range(total)]
    assert ours == pytest.approx(expected)
    assert schedule(0) == pytest.approx(1 / 25)


def test_multi_step_is_torchs() -> None:
    schedule = schedule_of(ImageTrainingConfig(schedule="multi-step", milestones=(0.5, 0.75), lr_factor=0.2), 40)
    expected = rates_of(lambda optimiser: torch.optim.lr_scheduler.MultiStepLR(optimiser, [20, 30], gamma=0.2), 40)
    assert [schedule(step) for step in range(40)] == pytest.approx(expected)


def test_cosine_is_torchs() -> None:
    expected = rates_of(lambda optimiser: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50), 50)
    assert [cosine(step, 50) for step in range(50)] == pytest.approx(expected, abs=1e-12)


@given(total=steps, kind=st.sampled_from(["one-cycle", "cosine", "multi-step", "constant"]), warmup=st.integers(0, 20))
def test_factors_stay_between_zero_and_one(total: int, kind: str, warmup: int) -> None:
    schedule = schedule_of(ImageTrainingConfig(schedule=kind, warmup_steps=warmup), total)
    factors = [schedule(step) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors == [schedule(step) for step in range(total)]


def test_warm_up_rises_linearly_and_then_leaves_the_schedule_alone() -> None:
    schedule = schedule_of(ImageTrainingConfig(schedule="constant", warmup_steps=4), 100)
    assert [schedule(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_multi_step_without_milestones_is_constant() -> None:
    assert {multi_step(step, 10, (), 0.1) for step in range(10)} == {1.0}
