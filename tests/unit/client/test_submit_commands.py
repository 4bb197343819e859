"""`octavo jobs submit` of several jobs, and dry runs."""

import json
from typing import Any

import httpx2
import pytest

from libs.client.cli.job_groups import summary_rows

JOB = {"id": "j1", "name": "cats-frskd", "method": "frskd", "status": "queued", "attempts_used": 1, "max_attempts": 1}
METHOD = {
    "name": "frskd", "kind": "method", "datasets": ["train"], "models": [],
    "config_schema": {"properties": {"lr": {"type": "number"}}},
}  # fmt: skip
PLAN = {"name": "cats-frskd", "queue": "cpu", "workers": 1, "spec": {"method": "frskd"}}
DETAILS = {
    "steps": 100, "step_s": 0.01, "total_s": 60.0, "memory_bytes": 10**6,
    "trained_parameters": 7, "served_parameters": 5,
}  # fmt: skip
SUBMIT = ("jobs", "submit", "frskd", "-d", "cats")


@pytest.fixture
def answering(gateway):
    """A gateway on which a dry run succeeds."""

    def jobs(request: httpx2.Request) -> dict[str, Any]:
        return PLAN if "dry_run" in request.url.params else JOB

    gateway.answers |= {
        "GET /v1/methods/frskd": METHOD,
        "POST /v1/jobs": jobs,
        "GET /v1/jobs/j1": {**JOB, "status": "succeeded", "result": {"details": DETAILS}},
    }
    return gateway


def test_a_dry_run_of_several_jobs_checks_each_and_multiplies_one_estimate(octavo, answering):
    ended = octavo(*SUBMIT, "--dry-run", "--seeds", "0-2", "--grid", "lr=0.1,0.2")
    assert ended.code == 0, ended.err
    sent = answering.sent("POST", "/v1/jobs")
    assert [spec["method"] for spec in sent] == ["frskd"] * 6 + ["estimate"]
    assert {(spec["seed"], spec["config"]["lr"]) for spec in sent[:6]} == {
        (s, lr) for s in (0, 1, 2) for lr in (0.1, 0.2)
    }
    assert "cats-frskd and 5 more would be queued" in ended.out
    assert any(line.startswith("all 6 jobs") and line.endswith("6 min 00 s") for line in ended.lines)


def test_a_dry_run_as_json_says_for_how_many_jobs_it_stands(octavo, answering):
    found = json.loads(octavo(*SUBMIT, "--dry-run", "--seeds", "0,1", "--json").out)
    assert (found["jobs"], found["estimate"]) == (2, DETAILS)


def test_a_trial_that_fails_ends_the_dry_run_with_its_reason(octavo, answering):
    error = {"message": "There is no network 'resnet9000'.", "user_error": True}
    answering.answers["GET /v1/jobs/j1"] = {**JOB, "status": "failed", "error": error}
    ended = octavo(*SUBMIT, "--dry-run")
    assert ended.code == 1
    assert ended.err.splitlines() == ["error: The trial of three steps failed: There is no network 'resnet9000'."]


def test_a_refused_job_of_several_queues_nothing(octavo, answering):
    answering.answers["POST /v1/jobs"] = httpx2.Response(422, json={"detail": "no such data set", "code": "invalid"})
    assert octavo(*SUBMIT, "--dry-run", "--seeds", "0,1").code == 4
    assert len(answering.sent("POST", "/v1/jobs")) == 1


def test_a_seed_named_twice_is_wrong_usage(octavo, answering):
    ended = octavo(*SUBMIT, "--seeds", "0,1-3,2")
    assert ended.code == 2
    assert "names a seed twice" in ended.err


def member(number: int, seed: int, lr: float, accuracy: float | None, status: str = "succeeded") -> dict[str, Any]:
    job = {**JOB, "id": f"j{number}", "status": status}
    metrics = {} if accuracy is None else {"train/loss": 0.1, "test/accuracy": accuracy}
    return {"job": job, "seed": seed, "varied": {"lr": lr}, "metrics": metrics}


MEMBERS = [member(1, 0, 0.1, 0.8), member(2, 1, 0.1, 0.9), member(3, 0, 0.2, 0.5), member(4, 1, 0.2, None, "failed")]


def test_mean_and_spread_are_over_the_seeds_of_each_combination():
    assert summary_rows(MEMBERS, ["lr"], ["test/accuracy"]) == [("mean ± sd", "", "2 seeds", 0.1, "0.85 ± 0.071")]


def test_a_group_shows_test_metrics_first_and_their_mean(octavo, gateway):
    group = "fc500000-0000-0000-0000-000000000000"
    gateway.answers[f"GET /v1/job-groups/{group}"] = {"id": group, "members": MEMBERS}
    lines = octavo("jobs", "group", group).lines
    assert lines[1].split() == ["job", "status", "seed", "lr", "test/accuracy", "train/loss"]
    assert lines[-1].startswith("mean ± sd")
    assert "0.85 ± 0.071" in lines[-1]


def test_following_a_group_shows_each_job_and_fails_when_one_did(octavo, answering):
    members = MEMBERS[2:]
    answering.answers |= {
        "POST /v1/job-groups": {"id": "g1", "members": members},
        "GET /v1/job-groups/g1": {"id": "g1", "members": members},
        "GET /v1/jobs/j3": members[0]["job"],
        "GET /v1/jobs/j4": members[1]["job"],
        "GET /v1/jobs/j3/events": httpx2.Response(204),
        "GET /v1/jobs/j4/events": httpx2.Response(204),
    }
    ended = octavo(*SUBMIT, "--seeds", "0,1", "--follow")
    assert ended.lines[:2] == ["1 of 2: cats-frskd, seed 0, lr 0.2", "2 of 2: cats-frskd, seed 1, lr 0.2"]
    assert ended.code == 1
    assert "1 of 2 jobs did not succeed: j4." in ended.err


AFD = {**METHOD, "name": "afd", "models": ["teacher"]}
SUPERVISED = {**METHOD, "name": "supervised", "config_schema": {"properties": {"epochs": {"type": "integer"}}}}
DISTIL = ("jobs", "submit", "afd", "-d", "cats")


@pytest.fixture
def distilling(answering):
    answering.answers |= {"GET /v1/methods/afd": AFD, "GET /v1/methods/supervised": SUPERVISED}
    return answering


@pytest.mark.parametrize(
    ("options", "teacher"),
    [
        (("--teacher", "cats-wrn@2"), "cats-wrn@2"),
        (
            ("--train-teacher", "wrn-40-2", "--teacher-set", "epochs=9", "--teacher-set", "dataset=more-cats"),
            {"train": {"model": "wrn-40-2", "epochs": 9, "dataset": "more-cats"}},
        ),
        (("--tune-teacher", "dogs-wrn"), {"init": "dogs-wrn", "finetune": {}}),
    ],
)
def test_a_teacher_is_named_trained_or_tuned(octavo, distilling, options: tuple[str, ...], teacher: object):
    ended = octavo(*DISTIL, *options)
    assert ended.code == 0, ended.err
    assert [spec["teacher"] for spec in distilling.sent("POST", "/v1/jobs")] == [teacher]


def test_a_comparison_is_one_job_with_the_seeds(octavo, distilling):
    ended = octavo(*DISTIL, "--teacher", "t", "--seeds", "0-2", "--compare-with", "supervised,kd")
    assert ended.code == 0, ended.err
    (spec,) = distilling.sent("POST", "/v1/jobs")
    assert spec["compare"] == {"seeds": [0, 1, 2], "baselines": ["supervised", "kd"]}
    assert "seed" not in spec
    octavo(*DISTIL, "--teacher", "t", "--seeds", "0-2", "--compare-with", "usual")
    assert distilling.sent("POST", "/v1/jobs")[1]["compare"] == {"seeds": [0, 1, 2], "baselines": None}


def test_an_empty_comparison_or_teacher_in_a_file_is_sent(octavo, distilling, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("{method: afd, datasets: {train: cats}, models: {}, teacher: {}, compare: {}}")
    ended = octavo("jobs", "submit", "--file", str(file))
    assert ended.code == 0, ended.err
    assert distilling.sent("POST", "/v1/jobs") == [
        {"method": "afd", "datasets": {"train": "cats"}, "teacher": {}, "compare": {}}
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--teacher", "a", "--train-teacher", "auto"), "--teacher and --train-teacher"),
        (("--teacher", "a", "--teacher-set", "epochs=3"), "--teacher-set goes with"),
        (("--compare-with", "kd", "--grid", "lr=0.1,0.2"), "varies the seed alone"),
    ],
)
def test_options_that_do_not_go_together_are_refused(octavo, distilling, options: tuple[str, ...], message: str):
    ended = octavo(*DISTIL, *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert distilling.sent("POST", "/v1/jobs") == []


def test_a_dry_run_names_the_jobs_that_come_first(octavo, distilling):
    first = [{"name": "cats-afd-teacher", "queue": "cpu", "spec": {"seed": 0}}]
    distilling.answers["POST /v1/jobs"] = {**PLAN, "first": first}
    ended = octavo(*DISTIL, "--train-teacher", "auto", "--dry-run")
    assert ended.code == 0, ended.err
    assert "Before it: cats-afd-teacher, seed 0, on cpu." in ended.lines
    assert len(distilling.sent("POST", "/v1/jobs")) == 1, "nothing is tried without its teacher"


EVALUATE = ("evaluate", "films", "-d", "clicks")


def test_an_evaluation_names_what_stands_beside_the_model_and_says_what_was_trained_on_other_data(octavo, gateway):
    note = "gru4rec is a registered model, measured as it is served. It was trained on another data set or version."
    result = {
        "metrics": {"test/ndcg@10": 0.5, "baseline/gru4rec/test/ndcg@10": 0.25},
        "details": {"beside": {"gru4rec": {"same_data": False, "note": note}}},
    }
    job = {**JOB, "name": "clicks-evaluate", "method": "evaluate"}
    gateway.answers |= {
        "POST /v1/jobs": job,
        "GET /v1/jobs/j1/events": httpx2.Response(204),
        "GET /v1/jobs/j1/artifacts": {"items": []},
        "GET /v1/jobs/j1": {**job, "status": "succeeded", "result": result},
    }
    ended = octavo(*EVALUATE, "--beside", "gru4rec=films-gru4rec@2", "--beside", "narm=old")
    assert ended.code == 0, ended.err
    (sent,) = gateway.sent("POST", "/v1/jobs")
    assert sent["models"] == {"model": "films", "gru4rec": "films-gru4rec@2", "narm": "old"}
    assert [line.split() for line in ended.lines if "ndcg" in line] == [["test/ndcg@10", "0.5", "0.25"]]
    assert note in ended.lines


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (["films-gru4rec"], "'films-gru4rec' is no METHOD=MODEL"),
        (["gru4rec="], "'gru4rec=' is no METHOD=MODEL"),
        (["gru4rec=a", "gru4rec=b"], "gru4rec is named twice: a and b."),
        (["model=a"], "model is named twice: films and a."),
    ],
)
def test_what_stands_beside_a_model_without_a_clear_role_is_refused(octavo, gateway, beside: list[str], said: str):
    ended = octavo(*EVALUATE, *(part for one in beside for part in ("--beside", one)))
    assert ended.code == 2
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize(("role", "option"), [("gru4rec", "--beside gru4rec=…"), ("model", "MODEL")])
def test_a_refused_evaluation_names_its_own_options(octavo, gateway, role: str, option: str):
    problem = {"pointer": f"/models/{role}", "message": "There is no model 'x'.", "location": "body"}
    refusal = {"code": "invalid_reference", "detail": f"models.{role}: There is no model 'x'.", "errors": [problem]}
    gateway.answers["POST /v1/jobs"] = httpx2.Response(422, json=refusal)
    ended = octavo(*EVALUATE, "--beside", "gru4rec=x")
    assert ended.code == 4
    assert f"error: {option}: There is no model 'x'." in ended.err
