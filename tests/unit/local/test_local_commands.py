"""What the local stack says about itself."""

from pathlib import Path

import pytest

from services.local import commands
from services.local.layout import StackState


@pytest.fixture
def state(tmp_path: Path) -> StackState:
    key_file = tmp_path / "api-key"
    key_file.write_text("oct_secret\n")
    return StackState(
        pid=1,
        version="0.1.0",
        phase="ready",
        url="http://127.0.0.1:8421",
        model_server_url="http://127.0.0.1:1",
        recommender_url="http://127.0.0.1:2",
        key_file=key_file,
        started_at=0.0,
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_ready_stack_says_where_everything_is_and_shows_the_key_on_a_terminal_only(
    state: StackState, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    commands.announce(state)
    said = capsys.readouterr().out
    for line in ("address    http://127.0.0.1:8421", "API docs   http://127.0.0.1:8421/docs", str(state.key_file)):
        assert line in said.replace("\n", "") or line in said
    assert ("oct_secret" in said) == terminal


def test_a_log_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    for name in ("gateway", "migration"):
        (tmp_path / "logs" / f"{name}.log").write_text("a line\n")
    assert list(commands.log_files(tmp_path)) == ["gateway", "migration"]
    with pytest.raises(commands.typer.Exit):
        commands.logs("nope", 50, False)
    assert "There are: gateway, migration." in capsys.readouterr().err
