from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from libs.training.classification import ClassificationTask, FittedClassifier, fit_classifier
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured
from libs.training.finish import Trained, finish_classifier
from libs.training.history import History
from libs.training.local_run import LocalRun
from libs.training.loop import Fitted
from libs.training.objective import StepOutput
from libs.training.processes import ALONE
from libs.training.randomness import prepare_randomness
from libs.training.run import CheckpointError, LogLevel, Stopped, StopReason
from libs.training.selection import Selection
from libs.training.session import changed_settings, settings_of
from libs.training.window import NotFiniteError

Open = Callable[[ImageTrainingConfig], ClassificationData]
Build = Callable[..., nn.Module]


class Watched(LocalRun):
    """Keeps log lines; stops when asked for the `stop_at`-th time."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder, seed=11, quiet=True)
        self.lines: list[tuple[LogLevel, str]] = []
        self.asked = 0
        self.stop_at = stop_at

    def stop_reason(self) -> StopReason | None:
        self.asked += 1
        return "pause" if self.asked == self.stop_at else None

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        self.lines.append((level, message))

    def values(self, name: str) -> list[float]:
        return [value for key, value, _ in self.metrics if key == name]


def config(**changes: Any) -> ImageTrainingConfig:
    return ImageTrainingConfig.model_validate(
        {"epochs": 2, "batch_size": 12, "lr": 0.05, "checkpoint_every_s": 86_400, **changes}
    )


def fit(module: nn.Module, settings: ImageTrainingConfig, data: ClassificationData, run: Watched) -> FittedClassifier:
    prepare_randomness(run.seed, settings.deterministic)
    return fit_classifier(module, data, settings, run)


def figures(run: LocalRun) -> dict[tuple[str, int], float]:
    return {(name, step): value for name, value, step in run.metrics if name != "train/images_per_s"}


def test_it_learns(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    settings = config(epochs=6)
    run = Watched(tmp_path)
    fitted = fit(tiny_step(), settings, open_bars(settings), run)
    assert fitted.test is not None
    assert float((fitted.test.logits.argmax(1) == fitted.test.labels).float().mean()) > 0.9
    assert run.latest("train/loss") < run.values("train/loss")[0] / 3
    assert (fitted.steps, fitted.epochs) == (6 * 7, 6)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.5},
        {"mix": "cutmix"},
        {"mix": "mixup", "label_smoothing": 0.1},
        {"optimizer": "adamw", "lr": 0.01, "ema_decay": 0.9, "clip_grad_norm": 0.5},
        {"accumulate": 3, "amp": "bfloat16", "checkpoint": "last", "schedule": "cosine", "warmup_steps": 5},
        {"augment": "strong", "max_steps": 11, "evaluate_every_epochs": 2},
    ],
    ids=["dropout", "cutmix", "mixup", "adamw-ema-clip", "accumulate-bf16", "strong-max-steps"],
)
@pytest.mark.parametrize("stop_at", [3, 7, 10])
def test_interrupted_is_bitwise_uninterrupted(
    changes: dict[str, Any], stop_at: int, tiny_step: Build, open_bars: Open, tmp_path: Path
) -> None:
    """Stops in the middle of the first epoch, at its very end, and in the middle of the second."""
    changes = dict(changes)
    options = {"dropout": changes.pop("dropout", 0.0)}
    settings = config(**changes)
    data = open_bars(settings)
    whole, stopped, resumed = Watched(tmp_path / "a"), Watched(tmp_path / "b", stop_at), Watched(tmp_path / "b")
    expected = tiny_step(**options)
    fit(expected, settings, data, whole)
    with pytest.raises(Stopped):
        fit(tiny_step(**options), settings, data, stopped)
    module = tiny_step(**options)
    torch.manual_seed(99)
    fit(module, settings, data, resumed)
    assert different(module, expected) == []
    assert figures(stopped) | figures(resumed) == figures(whole)


def different(left: nn.Module, right: nn.Module) -> list[str]:
    other = right.state_dict()
    return [name for name, value in left.state_dict().items() if not torch.equal(value, other[name])]


@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_micro_batches_add_up_to_the_batch(accumulate: int, tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    whole, cut = tiny_step().double(), tiny_step().double()
    data = open_bars(config())
    to_double = DoubleInputs(whole), DoubleInputs(cut)
    fit(to_double[0], config(checkpoint="last"), data, Watched(tmp_path / "whole"))
    fit(to_double[1], config(checkpoint="last", accumulate=accumulate), data, Watched(tmp_path / "cut"))
    torch.testing.assert_close(dict(cut.state_dict()), dict(whole.state_dict()), rtol=1e-9, atol=1e-12)


class DoubleInputs(nn.Module):
    """A step in double precision, so that sums in another order agree to many digits."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step
        self.classifier = step.classifier

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        output: StepOutput = self.step(pictures.double(), targets)
        return output


def test_gradients_are_clipped(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    before, module = tiny_step(), tiny_step()
    settings = config(max_steps=1, clip_grad_norm=1e-3, momentum=0, weight_decay=0, schedule="constant", lr=1.0)
    fit(module, settings, open_bars(settings), Watched(tmp_path))
    moved = [value - before.state_dict()[name] for name, value in module.state_dict().items()]
    assert float(torch.stack([d.square().sum() for d in moved]).sum().sqrt()) == pytest.approx(1e-3, rel=1e-3)


def test_bfloat16_trains_and_keeps_float32_weights(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    settings = config(epochs=4, amp="bfloat16")
    run, module = Watched(tmp_path), tiny_step()
    fit(module, settings, open_bars(settings), run)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert run.latest("train/loss") < run.values("train/loss")[0] / 2
    exact = Watched(tmp_path / "exact")
    fit(tiny_step(), config(epochs=4), open_bars(settings), exact)
    assert exact.values("train/loss") != run.values("train/loss")


def test_channels_last_computes_the_same(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    last, first = tiny_step(), tiny_step()
    data = open_bars(config())
    fit(last, config(checkpoint="last"), data, Watched(tmp_path / "last"))
    fit(first, config(checkpoint="last", channels_last=False), data, Watched(tmp_path / "first"))
    torch.testing.assert_close(dict(last.state_dict()), dict(first.state_dict()), rtol=1e-4, atol=1e-6)


class Scripted(nn.Module):
    """Validation accuracy follows a script: weight w, one evaluation each epoch."""

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, 3)
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))
        self.script = script

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        logits = self.classifier(pictures.mean((1, 2, 3))[:, None])
        if not self.training:
            share = self.script[min(int(self.evaluations), len(self.script) - 1)]
            right = torch.arange(len(targets)) < round(share * len(targets))
            wrong = (targets + 1) % 3
            logits = nn.functional.one_hot(torch.where(right, targets, wrong), 3).float()
        return StepOutput({"ce_classifier": logits.square().mean()}, {"ce_classifier": 1.0}, logits)


def scripted_run(
    script: list[float], data: ClassificationData, folder: Path, **changes: Any
) -> tuple[FittedClassifier, Scripted]:
    module = Scripted(script)
    settings = config(epochs=len(script), **changes)

    def count(_: nn.Module) -> dict[str, float]:
        epoch = int(module.evaluations)
        module.evaluations += 0 if epoch == len(script) else 1
        return {"epochs": epoch}

    module.evaluations -= 1
    prepare_randomness(1, True)
    return fit_classifier(module, data, settings, Watched(folder), observe=count), module


def test_best_weights_are_kept_and_the_first_of_equals(open_bars: Open, tmp_path: Path) -> None:
    fitted, module = scripted_run([0.25, 0.75, 0.5, 0.75], open_bars(config()), tmp_path)
    assert fitted.chosen_epoch == 2
    assert int(module.evaluations) == 1


def test_the_step_of_the_kept_weights_is_told_where_the_last_epoch_is_cut_off(open_bars: Open, tmp_path: Path) -> None:
    data = open_bars(config())
    steps = ClassificationTask(data, config(), Watched(tmp_path), ALONE).steps_per_epoch
    fitted, _ = scripted_run([0.25, 0.75, 0.5], data, tmp_path, max_steps=2 * steps + 1)
    assert (fitted.chosen_epoch, fitted.chosen_step) == (2, 2 * steps)


def test_a_figure_that_is_nan_never_is_the_best() -> None:
    selection = Selection("nll")
    for epoch, value in enumerate([float("nan"), 2.0, float("nan"), 1.0], 1):
        selection.offer({"nll": value}, epoch, {})
    assert (selection.value, selection.epoch) == (1.0, 4)


def test_answers_that_are_not_finite_are_not_exported(open_bars: Open, tmp_path: Path) -> None:
    """Training losses are checked; a network may still break in evaluation mode, by its batch norms' statistics."""
    data = open_bars(config())
    logits = torch.tensor([[0.0, 1.0, 2.0], [float("inf"), 0.0, 0.0]])
    measured = Measured(torch.tensor([2, 0]), logits, {}, {})
    fitted = Fitted(History(), 1, 1, 1, 1, stopped_early=False, val=measured, test=None)
    trained = Trained("m", "M", "tiny", nn.Identity(), data, config(), fitted)
    with pytest.raises(NotFiniteError, match="not finite for 1 of the 2 pictures of the val split"):
        finish_classifier(trained, Watched(tmp_path))


def test_last_weights_on_request(open_bars: Open, tmp_path: Path) -> None:
    fitted, module = scripted_run([0.25, 0.75, 0.5], open_bars(config()), tmp_path, checkpoint="last")
    assert fitted.chosen_epoch == 3
    assert int(module.evaluations) == 2


def test_patience_ends_the_run(open_bars: Open, tmp_path: Path) -> None:
    fitted, _ = scripted_run([0.5, 0.75, 0.5, 0.5, 1.0, 1.0], open_bars(config()), tmp_path, patience_epochs=2)
    assert fitted.stopped_early
    assert (fitted.epochs, fitted.chosen_epoch) == (4, 2)


class Exploding(nn.Module):
    """The feature term is NaN from the fourth step on."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step
        self.classifier = step.classifier
        self.steps = 0

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        output = self.step(pictures, targets)
        self.steps += self.training
        value = torch.tensor(float("nan") if self.steps >= 4 else 0.5)
        losses = {**output.losses, "feature": value}
        return StepOutput(losses, {"ce_classifier": 1.0, "feature": 10.0}, output.logits)


def test_nan_names_step_and_term_and_saves_nothing(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    settings = config(epochs=100, checkpoint_every_s=0)
    run = Watched(tmp_path)
    with pytest.raises(NotFiniteError, match=r"step 4: feature \(ce_classifier=.*feature=nan"):
        fit(Exploding(tiny_step()), settings, open_bars(settings), run)
    saved = run.load_checkpoint()
    assert saved is not None
    assert saved["step"] == 3


def test_a_drowning_feature_term_is_warned_about_once(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    module = Exploding(tiny_step())
    module.steps = -(10**6)
    settings = config(epochs=3)
    run = Watched(tmp_path)
    fit(module, settings, open_bars(settings), run)
    warnings = [line for level, line in run.lines if level == "warning"]
    assert len(warnings) == 1
    assert "'feature' was larger than the classifier's cross-entropy in 100%" in warnings[0]


def test_a_failed_checkpoint_is_reported_and_the_run_goes_on(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    settings = config(checkpoint_every_s=0)
    run = Watched(tmp_path)
    run.save_checkpoint = fail  # type: ignore[method-assign]
    fitted = fit(tiny_step(), settings, open_bars(settings), run)
    assert fitted.steps == 14
    assert ("error", "no room; step-1 stays valid") in run.lines


def fail(step: int, state: object) -> None:
    raise CheckpointError("no room; step-1 stays valid")


def test_a_checkpoint_of_another_config_is_refused(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    data = open_bars(config())
    with pytest.raises(Stopped):
        fit(tiny_step(), config(), data, Watched(tmp_path, stop_at=2))
    with pytest.raises(CheckpointError, match=r"other settings \(lr\)"):
        fit(tiny_step(), config(lr=0.01), data, Watched(tmp_path))
    fit(tiny_step(), config(checkpoint_every_s=5), data, Watched(tmp_path))  # changes no weight


def test_a_checkpoint_from_before_they_held_settings_is_refused(
    tiny_step: Build, open_bars: Open, tmp_path: Path
) -> None:
    data, run = open_bars(config()), Watched(tmp_path, stop_at=2)
    with pytest.raises(Stopped):
        fit(tiny_step(), config(), data, run)
    state = run.load_checkpoint()
    assert state is not None
    before = {name: value for name, value in state.items() if name != "settings"}
    run.save_checkpoint(state["step"] + 1, {**before, "config": "0f"})  # of one step it would be either that is newest
    with pytest.raises(CheckpointError, match="earlier version of Octavo"):
        fit(tiny_step(), config(), data, Watched(tmp_path))


def test_a_setting_that_a_checkpoint_does_not_know_was_its_default() -> None:
    """A run that was paused before an upgrade goes on after it, unless the new setting is asked for."""
    before = settings_of(config(lr=0.05))
    del before["adam_beta2"]
    assert changed_settings(before, config(lr=0.05)) == []
    assert changed_settings(before, config(lr=0.01, adam_beta2=0.98)) == ["adam_beta2", "lr"]
    assert changed_settings({**before, "gone": 1}, config(lr=0.05)) == ["gone"]


def test_a_finished_run_is_not_trained_again(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    data = open_bars(config())
    first, again = tiny_step(), tiny_step()
    fit(first, config(), data, Watched(tmp_path))
    run = Watched(tmp_path)
    fit(again, config(), data, run)
    assert run.metrics == []
    assert different(again, first) == []


def test_progress_reaches_the_end_and_counts_down(tiny_step: Build, open_bars: Open, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    run = Watched(tmp_path)
    run.progress = lambda fraction, note="": told.append((fraction, note))  # type: ignore[method-assign]
    fit(tiny_step(), config(), open_bars(config()), run)
    assert told[-1][0] == 1.0
    assert "step 14/14" in told[-1][1]
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_a_compiled_step_trains_the_same(
    tiny_step: Build, open_bars: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced by torch's compiler; its eager backend spares the machine code."""
    compiled: list[nn.Module] = []

    def trace(module: nn.Module) -> Any:
        compiled.append(module)
        return real_compile(module, backend="eager")

    real_compile = torch.compile
    monkeypatch.setattr("libs.training.session.torch.compile", trace)
    traced, plain = tiny_step(), tiny_step()
    data = open_bars(config())
    fit(traced, config(compile=True, max_steps=4, checkpoint="last"), data, Watched(tmp_path / "traced"))
    fit(plain, config(max_steps=4, checkpoint="last"), data, Watched(tmp_path / "plain"))
    assert compiled == [traced]
    torch.testing.assert_close(dict(traced.state_dict()), dict(plain.state_dict()))
