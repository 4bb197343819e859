"""The README's path by the command line, through every real part: data set, job, model, deployment, prediction."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from services.local.layout import Layout
from tests.support.command_line import CommandLine
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
SLOW_S = 240.0
"""Limit of waits for a machine that does much else at the same time."""
TINY = ["--set", "model=resnet8", "--set", "batch_size=16", "--set", "calibrate=false"]


def draw(folder: Path, pictures_per_class: int = 40) -> Path:
    """Two classes that differ at sight: the left or the right half is bright."""
    random = np.random.default_rng(0)
    for label, bright in (("left side", slice(0, 4)), ("rechts_ö", slice(4, 8))):
        (folder / label).mkdir(parents=True)
        for number in range(pictures_per_class):
            pixels = random.integers(0, 60, (8, 8), dtype=np.uint8)
            pixels[:, bright] += 180
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("pictures") / "halves")


@pytest.fixture(scope="module")
def served(octavo_command: CommandLine, halves: Path) -> CommandLine:
    """A stack in which the README's path was walked up to the deployment."""
    octavo = octavo_command
    made = octavo.done("datasets", "create", "halves", "--images", halves)
    assert "halves@1 is ready" in made.out
    job = octavo.done("jobs", "submit", "frskd", "--dataset", "halves", "--set", "epochs=4", *TINY, "--follow")
    assert "halves-frskd succeeded" in job.out
    assert "100%" in job.out
    assert "octavo deploy halves-frskd" in job.out
    assert "halves-frskd" in octavo.done("models", "ls").out
    assert "halves-frskd is ready: halves-frskd@1" in octavo.done("deploy", "halves-frskd").out
    return octavo


def test_a_picture_is_predicted(served: CommandLine, halves: Path):
    answers = served.called("predict", "halves-frskd", *sorted((halves / "rechts_ö").glob("*.png"))[:5], "--json").json
    assert {answer["version"] for answer in answers} == {1}
    labels = [answer["predictions"][0]["label"] for answer in answers]
    assert labels.count("rechts_ö") >= 4
    shown = served.called("predict", "halves-frskd", halves / "left side" / "0.png").out
    assert "left side" in shown
    assert "%" in shown


def test_everything_can_be_looked_at(served: CommandLine):
    assert "2 classes" in served.called("datasets", "show", "halves").out
    (job,) = served.called("jobs", "ls", "--method", "frskd", "--json").json
    assert job["status"] == "succeeded"
    assert "succeeded" in served.called("jobs", "show", job["id"][:8]).out
    kinds = {event["kind"] for event in served.called("jobs", "events", "halves-frskd", "--json").json}
    assert {"status", "progress", "metrics", "log", "model"} <= kinds
    assert "test/accuracy" in served.called("models", "versions", "halves-frskd").out
    assert "gate parity     passed" in served.called("models", "show", "halves-frskd@1").out
    assert "beta" in served.called("methods", "frskd").out
    assert "halves-frskd@1" in served.called("deployments").out
    assert "0.1.0" in served.called("version").out
    assert served.done("status").code == 0


def test_a_job_goes_from_export_to_submit(served: CommandLine, tmp_path: Path):
    exported = served.called("jobs", "export", "halves-frskd").out
    file = tmp_path / "job.yaml"
    file.write_text(exported)
    plan = served.called("jobs", "submit", "-f", file, "--seed", "7", "--set", "lr=0.05", "--dry-run", "--json").json
    assert (plan["spec"]["seed"], plan["spec"]["config"]["lr"]) == (7, 0.05)
    assert plan["spec"]["config"]["model"] == "resnet8"
    assert plan["estimate"]["steps"] > 0
    assert plan["estimate"]["total_s"] > 0
    assert len(served.called("jobs", "ls", "--method", "frskd", "--json").json) == 1


def test_a_new_version_takes_over_by_an_alias(served: CommandLine, halves: Path):
    served.called("models", "alias", "halves-frskd", "production", "1")
    assert "served is ready" in served.called("deploy", "halves-frskd@production", "--name", "served").out
    served.called(
        "jobs", "submit", "supervised", "-d", "halves", "--name", "halves-frskd", "--set", "epochs=1", *TINY, "--follow"
    )
    served.called("models", "alias", "halves-frskd", "production", "2")

    def version() -> bool:
        answer = served.called("predict", "served", halves / "left side" / "0.png", "--json").json
        return answer[0]["version"] == 2

    until(version, "version 2 serves", SLOW_S)
    assert "supervised" in served.called("models", "compare", "halves-frskd@1", "halves-frskd@2", "--json").out
    served.called("undeploy", "served")


def test_a_job_survives_a_stop_of_everything(served: CommandLine):
    submitted = served.called(
        "jobs", "submit", "supervised", "-d", "halves", "--name", "long", "--json",
        "--set", "epochs=300", "--set", "checkpoint_every_s=0", "--set", "evaluate_every_epochs=300", *TINY,
    ).json  # fmt: skip
    job_id = submitted["id"]

    def kinds() -> set[str]:
        return {event["kind"] for event in served.called("jobs", "events", job_id, "--json").json}

    until(lambda: "checkpoint" in kinds(), "the first checkpoint", SLOW_S)
    served.done("down")
    assert served.processes() == []
    served.done("up", "--detach")

    def second_attempt() -> bool:
        job = served.called("jobs", "show", job_id, "--json").json
        return len(job["attempts"]) >= 2 and job["status"] == "running"

    until(second_attempt, "the second attempt", SLOW_S)
    until(lambda: "step" in served.called("jobs", "logs", job_id).out, "the word that it was resumed", SLOW_S)
    assert "cancel" in served.called("jobs", "cancel", job_id).out
    until(lambda: served.called("jobs", "show", job_id, "--json").json["status"] == "cancelled", "the cancel", SLOW_S)


def test_following_goes_on_through_a_restart_of_the_gateway(served: CommandLine, halves: Path):
    results = []
    following = Thread(
        target=lambda: results.append(
            served.run(
                "jobs", "submit", "supervised", "-d", "halves", "--set", "epochs=20", *TINY, "--follow", "--json"
            )
        )
    )
    following.start()
    layout = Layout(served.home)
    until(lambda: served.called("jobs", "ls", "--status", "running", "--json").json, "the job runs", SLOW_S)
    gateway = next(one for one in layout.running().services if one.name == "gateway")
    os.kill(gateway.pid, signal.SIGKILL)
    following.join(240)
    (finished,) = results
    assert finished.code == 0, finished.err
    seqs = [json.loads(line)["seq"] for line in finished.out.splitlines() if line.startswith('{"seq"')]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["jobs", "submit", "frksd", "-d", "halves"], 5, "Did you mean frskd"),
        (["jobs", "submit", "frskd", "-d", "halvs"], 4, "halvs"),
        (["jobs", "submit", "frskd"], 4, "train"),
        (["jobs", "submit", "frskd", "-d", "halves", "--set", "lr=fast"], 2, "want a number"),
        (["jobs", "submit", "frskd", "-d", "halves", "--set", "leer=1"], 2, "Did you mean lr"),
        (
            ["jobs", "submit", "frskd", "-d", "halves", "--set", "batch_size=3", "--set", "accumulate=2"],
            4,
            "batch_size",
        ),
        (["jobs", "submit"], 2, "Name a method"),
        (["jobs", "submit", "-f", "/nowhere/job.yaml"], 1, "cannot be read"),
        (["jobs", "show", "00000000-0000-0000-0000-000000000000"], 5, "00000000"),
        (["jobs", "show", "nothing-like-it"], 5, "no job called"),
        (["jobs", "cancel", "halves-frskd"], 4, "succeeded"),
        (["datasets", "create", "UPPER", "--images", "/nowhere.zip"], 1, "no file or folder"),
        (["datasets", "create", "x"], 2, "--from-events"),
        (["datasets", "create", "x", "--path", "/etc"], 4, "OCTAVO_DATA_ROOTS"),
        (["datasets", "show", "nothing"], 5, "nothing"),
        (["models", "show", "nothing"], 5, "nothing"),
        (["models", "compare", "halves-frskd@1"], 2, "at least two"),
        (["jobs", "ls", "--status", "bogus"], 2, "--status"),
        (["deploy", "nothing"], 4, "nothing"),
        (["predict", "nothing", __file__], 5, "nothing"),
        (["predict", "halves-frskd", __file__], 4, "picture"),
        (["predict", "halves-frskd", "/nowhere.png"], 1, "cannot be read"),
        (["methods", "nothing"], 5, "There is no method"),
        (["keys", "create", "x", "--scope", "everything"], 4, "scope"),
        (["nothing"], 2, "No such command"),
    ],
)
def test_wrong_input_is_refused_with_what_to_do(served: CommandLine, arguments: list[str], code: int, said: str):
    finished = served.call(*arguments)
    assert "Traceback" not in finished.err
    assert said in finished.err
    assert finished.code == code


def test_a_folder_with_one_class_is_explained(served: CommandLine, tmp_path: Path):
    one_class = draw(tmp_path / "one", pictures_per_class=30)
    shutil.rmtree(one_class / "rechts_ö")
    refused = served.run("datasets", "create", "lonely", "--images", one_class, "--json")
    assert refused.code == 1
    said = json.loads(refused.err)
    assert said["reference"] == "lonely@1"
    assert "of one class, 'left side'" in said["detail"]
    assert said["report"]["class_count"] == 1
    assert "of one class, 'left side'" in served.called("datasets", "show", "lonely").out
    assert "invalid" in served.called("datasets", "ls").out


def test_a_key_does_what_its_scopes_allow(served: CommandLine):
    key = served.called("keys", "create", "reader", "--scope", "jobs:read").out.strip()
    assert served.call("jobs", "ls", OCTAVO_API_KEY=key).code == 0
    refused = served.call("models", "ls", OCTAVO_API_KEY=key)
    assert refused.code == 6
    assert "models:read" in refused.err
    (listed,) = [one for one in served.called("keys", "ls", "--json").json if one["name"] == "reader"]
    served.called("keys", "revoke", listed["id"][:8])
    assert served.call("jobs", "ls", OCTAVO_API_KEY=key).code == 6


def test_a_folder_is_predicted_by_a_batch_job(served: CommandLine, halves: Path, tmp_path: Path):
    folder = tmp_path / "new"
    folder.mkdir()
    for number, picture in enumerate(sorted((halves / "left side").glob("*.png"))[:6]):
        (folder / f"{number}.png").write_bytes(picture.read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    table = tmp_path / "predictions.csv"
    served.called("predict", "halves-frskd", folder, "--out", table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert sum("left side" in row.values() for row in rows) >= 5
    assert sum(bool(row.get("error")) for row in rows) == 1


def test_a_model_is_evaluated_on_a_data_set(served: CommandLine):
    shown = served.called("evaluate", "halves-frskd@1", "--dataset", "halves")
    assert "accuracy" in shown.out
