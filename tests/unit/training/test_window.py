import pytest
import torch

from libs.training.processes import Processes
from libs.training.window import NotFiniteError, StepFigures, Window


def step(ce: float, kd: float, right: int, examples: int = 4, scale: float = 1.0) -> StepFigures:
    terms = {"ce": torch.tensor(ce), "kd": torch.tensor(kd)}
    return StepFigures(terms, {"ce": 1.0, "kd": 2.0}, {"accuracy": torch.tensor(right)}, scale, examples, 0.1)


def test_flush_reports_means_and_starts_anew() -> None:
    window = Window()
    window.add(1, step(1.0, 0.5, 2))
    window.add(2, step(3.0, 1.5, 4))
    figures, weighted = window.flush(Processes())
    assert figures == {
        "train/loss": 4.0,
        "train/ce": 2.0,
        "train/kd": 1.0,
        "train/weighted/ce": 2.0,
        "train/weighted/kd": 2.0,
        "train/accuracy": 0.75,
        "train/lr": 0.1,
    }
    assert weighted["kd"].tolist() == [1.0, 3.0]
    assert window.rows == []
    window.add(3, step(5.0, 0.0, 4))
    assert window.flush(Processes())[0]["train/ce"] == 5.0


def test_steps_weigh_as_their_scales_say() -> None:
    window = Window()
    window.add(1, step(1.0, 0.5, 2, scale=0.5))
    window.add(2, step(3.0, 1.5, 4, scale=1.5))
    figures, _ = window.flush(Processes())
    assert (figures["train/ce"], figures["train/kd"], figures["train/loss"]) == (2.5, 1.25, 5.0)
    assert figures["train/accuracy"] == 0.75  # a share of examples
    window.add(3, step(5.0, 0.0, 4, scale=7.0))
    assert window.flush(Processes())[0]["train/ce"] == 5.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_bad_step_and_its_term_are_named(bad: float) -> None:
    window = Window()
    for number, kd in enumerate([0.5, bad, bad], 7):
        window.add(number, step(1.0, kd, 2))
    with pytest.raises(NotFiniteError, match=r"step 8: kd \(ce=1  kd=") as error:
        window.check()
    assert error.value.user_error


def test_an_interrupted_window_reports_the_same() -> None:
    whole, first, second = Window(), Window(), Window()
    whole.add(1, step(1.0, 0.5, 2))
    first.add(1, step(1.0, 0.5, 2))
    second.restore(first.state(), torch.device("cpu"))
    for window in (whole, second):
        window.add(2, step(2.0, 0.1, 3, scale=0.25))
    assert second.flush(Processes())[0] == whole.flush(Processes())[0]


def test_a_window_from_before_steps_had_scales_goes_on() -> None:
    before, resumed = Window(), Window()
    before.add(1, step(1.0, 0.5, 2))
    resumed.restore({name: value for name, value in before.state().items() if name != "scales"}, torch.device("cpu"))
    resumed.add(2, step(3.0, 0.5, 2))
    assert resumed.flush(Processes())[0]["train/ce"] == 2.0


def test_a_resumed_window_is_kept_where_the_training_computes() -> None:
    """Else the next report of a resumed GPU run stacks rows of two devices, and fails."""
    interrupted, resumed = Window(), Window()
    interrupted.add(1, step(1.0, 0.5, 2))
    resumed.restore(interrupted.state(), torch.device("meta"))
    assert [row.device.type for row in resumed.rows] == ["meta"]


def test_nothing_need_be_counted() -> None:
    window = Window()
    window.add(1, StepFigures({"ce": torch.tensor(2.0)}, {"ce": 0.5}, {}, 1.0, 4, 0.1))
    figures, _ = window.flush(Processes())
    assert figures == {"train/loss": 1.0, "train/ce": 2.0, "train/weighted/ce": 1.0, "train/lr": 0.1}
