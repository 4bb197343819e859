import math
from pathlib import Path

import pytest

from libs.training.history import History
from libs.training.local_run import LocalRun
from libs.training.run import Run


def test_it_is_a_run(tmp_path: Path) -> None:
    run: Run = LocalRun(tmp_path / "made", seed=3, quiet=True)
    assert (run.seed, run.device, run.folder) == (3, "cpu", tmp_path / "made")
    assert run.load_checkpoint() is None
    assert run.stop_reason() is None


def test_checkpoints_of_the_folder_are_found_again(tmp_path: Path) -> None:
    LocalRun(tmp_path, quiet=True).save_checkpoint(4, {"step": 4})
    LocalRun(tmp_path, quiet=True).save_checkpoint(9, {"step": 9})
    assert LocalRun(tmp_path, quiet=True).load_checkpoint() == {"step": 9}


def test_a_wish_to_stop_is_heard(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, quiet=True)
    run.request_stop("pause")
    assert run.stop_reason() == "pause"


def test_figures_are_kept(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, quiet=True)
    run.metric("a", 1.0, 1)
    run.metric("a", 2.0, 2)
    assert run.latest("a") == 2.0
    assert math.isnan(run.latest("b"))


def test_lines_and_progress_are_shown_on_the_error_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalRun(tmp_path) as run:
        run.progress(0.5, "half way")
        run.log("[not markup]", "warning", level_count=3)
        run.log("unseen", "debug")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "[not markup]  level_count=3" in shown.err
    assert "half way" in shown.err
    assert "unseen" not in shown.err


def test_history_survives_a_checkpoint() -> None:
    history, again = History(), History()
    history.record({"train/loss": 0.1 + 0.2, "val/accuracy": 0.5}, 3)
    history.record({"train/loss": 1e-300}, 4)
    again.restore(history.state())
    assert again.names == ["train/loss", "val/accuracy"]
    assert [(p.step, p.value) for p in again.series("train/loss")] == [(3, 0.1 + 0.2), (4, 1e-300)]
    assert list(again.matching("val/")) == ["accuracy"]
    assert again.series("none") == ()
