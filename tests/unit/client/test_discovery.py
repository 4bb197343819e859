"""Which gateway a program talks to, and that the local key goes nowhere else."""

import json
from pathlib import Path

import pytest

from libs.client.discovery import Target, find_target
from libs.client.errors import BadAddressError, NotConfiguredError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    for name in ("OCTAVO_URL", "OCTAVO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path))


@pytest.fixture
def local_stack(tmp_path: Path) -> Target:
    (tmp_path / "api-key").write_text("oct_local\n")
    state = {"url": "http://127.0.0.1:8421", "key_file": str(tmp_path / "api-key")}
    (tmp_path / "stack.json").write_text(json.dumps(state))
    return Target("http://127.0.0.1:8421", "oct_local")


def test_nothing_configured_says_what_to_do():
    with pytest.raises(NotConfiguredError, match="octavo up"):
        find_target()


def test_the_local_stack_is_found(local_stack):
    assert find_target() == local_stack
    assert find_target("http://127.0.0.1:8421/") == local_stack


def test_arguments_win_over_the_environment_and_that_over_the_local_stack(local_stack, monkeypatch):
    monkeypatch.setenv("OCTAVO_URL", "https://octavo.example/")
    monkeypatch.setenv("OCTAVO_API_KEY", "oct_env")
    assert find_target() == Target("https://octavo.example", "oct_env")
    assert find_target("http://other", "oct_arg") == Target("http://other", "oct_arg")


def test_the_local_key_is_never_sent_elsewhere(local_stack, monkeypatch):
    with pytest.raises(NotConfiguredError, match=r"no key for https://octavo.example\. Set OCTAVO_API_KEY"):
        find_target("https://octavo.example")


def test_a_broken_state_file_is_no_stack(tmp_path):
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(NotConfiguredError):
        find_target()


@pytest.mark.parametrize(
    "url", ["foo", "localhost:8421", "ftp://octavo.example", "http://", "http://[::1", "http://a:b"]
)
def test_what_is_no_address_is_said_before_anything_is_sent(url, monkeypatch):
    monkeypatch.setenv("OCTAVO_URL", url)
    monkeypatch.setenv("OCTAVO_API_KEY", "oct_env")
    with pytest.raises(BadAddressError, match="is no address of a gateway; OCTAVO_URL"):
        find_target()
