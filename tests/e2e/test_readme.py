"""The README's REST and Python examples, run as they are printed."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine

pytestmark = pytest.mark.e2e
README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def last_object(text: str) -> dict[str, Any]:
    """The last of several JSON objects printed without a separator."""
    decoder, end = json.JSONDecoder(), len(text.rstrip())
    found = (decoder.raw_decode(text, match.start()) for match in re.finditer(r'\{(?=")', text))
    return next(value for value, stop in found if stop == end)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples read, made as the README makes it: digits.zip and digit.png."""
    folder = tmp_path_factory.mktemp("readme")
    assert "\npython -m examples.digits " in README.read_text()
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    subprocess.run([sys.executable, "-m", "examples.digits"], cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def shell(octavo_command: CommandLine, folder: Path) -> dict[str, str]:
    """The environment of a shell in which `.venv` is active."""
    commands = folder / "bin"
    commands.mkdir()
    program = commands / "octavo"
    program.write_text(f"#!{sys.executable}\nfrom libs.client.cli import main\nmain()\n")
    program.chmod(0o755)
    return {**octavo_command.environment, "PATH": f"{commands}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def rest_examples(shell: dict[str, str], folder: Path) -> str:
    """What the REST examples print."""
    assert shutil.which("curl"), "the README's examples need curl"
    rest, wrong = blocks("bash")
    script = f"set -euo pipefail\n{rest}\necho\necho REFUSED\n{wrong}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=shell, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rest_examples_run_as_printed(rest_examples: str, folder: Path):
    answers, refused = rest_examples.split("REFUSED\n")
    assert '"to":"succeeded"' in answers.replace(" ", "")
    classified = last_object(answers)
    assert {one["label"] for one in classified["predictions"]} < set("0123456789")
    assert "<html" in (folder / "report.html").read_text()
    problem = json.loads(refused)
    assert problem["status"] == 422
    assert [error["pointer"] for error in problem["errors"]] == ["/config/beta"]


def test_python_example_runs_as_printed(shell: dict[str, str], rest_examples: str, folder: Path):
    (example,) = blocks("python")
    quicker = example.replace('"epochs": 6', '"epochs": 1')
    assert quicker != example
    done = subprocess.run(
        [sys.executable, "-c", quicker], cwd=folder, env=shell, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0.0 <= float(done.stdout.splitlines()[-1]) <= 1.0


def test_a_downloaded_model_can_be_imported_and_a_pickle_cannot(
    octavo_command: CommandLine, rest_examples: str, folder: Path
):
    octavo_command.done("models", "download", "numerals-frskd", "-o", folder / "model.zip")
    with zipfile.ZipFile(folder / "model.zip") as bundle:
        bundle.extractall(folder / "bundle")
    (onnx,) = (folder / "bundle").rglob("model.onnx")
    about = json.loads((onnx.parent / "bundle.json").read_text())
    (folder / "labels.txt").write_text("\n".join(about["labels"]))
    recipe = about["recipe"]
    options = [
        "--labels",
        folder / "labels.txt",
        "--size",
        str(recipe["height"]),
        "--channels",
        str(recipe["channels"]),
    ]
    for name in ("mean", "std"):
        options += [f"--{name}", ",".join(map(str, recipe[name]))]
    done = octavo_command.done("models", "import", "foreign", onnx, *options)
    assert "foreign@1 is ready" in done.out
    assert octavo_command.done("deploy", "foreign").code == 0
    both = [
        octavo_command.done("predict", model, folder / "digit.png", "--json").json for model in ("foreign", "numerals")
    ]
    foreign, original = ([one["predictions"][0] for one in answers] for answers in both)
    assert [one["label"] for one in foreign] == [one["label"] for one in original]
    (folder / "weights.pth").write_bytes(b"\x80\x04.")
    refused = octavo_command.run("models", "import", "foreign", folder / "weights.pth", *options)
    assert refused.code != 0
    assert "octavo convert" in refused.err
