"""`octavo jobs …` as people see it."""

import json
from typing import Any

import httpx2
import pytest

from libs.client.records import JobState
from libs.jobs.states import JobStatus

JOB_ID = "3f0c1e6d-0000-0000-0000-000000000000"
JOB: dict[str, Any] = {
    "id": JOB_ID, "name": "cats-frskd", "method": "frskd", "status": "succeeded", "status_reason": None, "queue": "cpu",
    "progress": 1.0, "progress_note": "", "created_at": "2026-01-01T00:00:00+00:00", "group_id": None,
    "started_at": "2026-01-01T00:00:01+00:00", "finished_at": "2026-01-01T00:00:11+00:00",
    "spec": {
        "datasets": {"train": "cats@1"}, "seed": 3, "config": {"lr": 0.1}, "resources": {"device": "cpu", "gpus": 1}
    },
    "result": {
        "metrics": {"train/loss": 0.5, "val/accuracy": 0.8, "size": 2.0, "test/nll": 0.4, "test/accuracy": 0.9},
        "model": {"name": "cats-frskd", "version": 1, "status": "ready"},
    },
    "error": None, "attempts_used": 1, "max_attempts": 3, "attempts": [],
}  # fmt: skip
ERROR = {
    "error": "UnknownTap",
    "message": "There is no module 'nope'.",
    "traceback": "Traceback\n  x.py",
    "user_error": 1,
}
FAILED = {**JOB, "status": "failed", "status_reason": "error", "error": ERROR, "result": None}
ATTEMPT = {
    "epoch": 1, "started_at": "2026-01-01T00:00:01+00:00", "finished_at": "2026-01-01T00:00:03+00:00",
    "exit_reason": "error", "exit_code": 1, "error": ERROR,
}  # fmt: skip
REPORT = {"id": "f", "kind": "report", "name": "report.html", "digest": "", "size_bytes": 9, "media_type": "text/html"}


def stream(*events: tuple[str, dict[str, Any]]) -> httpx2.Response:
    lines = [f"id: {n}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for n, (kind, data) in enumerate(events, 1)]
    text = "".join(lines) + "event: end\ndata: {}\n\n"
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


def test_the_states_are_those_of_the_platform():
    assert [state.value for state in JobState] == [status.value for status in JobStatus]


def test_a_wrong_state_is_wrong_usage_and_named(octavo, gateway):
    ended = octavo("jobs", "ls", "--status", "bogus")
    assert ended.code == 2
    assert "--status" in ended.err
    assert "retry_wait" in ended.err
    assert gateway.asked == []


def test_the_list_leaves_out_checks_unless_all_is_asked_for(octavo, gateway):
    others = [{**JOB, "id": f"{n}", "name": name, "method": method} for n, name, method in CHECKS]
    gateway.answers["GET /v1/jobs"] = {"items": [*others, JOB]}
    assert [line.split()[1] for line in octavo("jobs", "ls").lines] == ["name", "cats-frskd"]
    assert len(octavo("jobs", "ls", "--all").lines) == 4
    assert len(json.loads(octavo("jobs", "ls", "--json").out)) == 1
    assert len(octavo("jobs", "ls", "--method", "estimate").lines) == 4  # the gateway chooses


CHECKS = [("1", "validate-cats", "validate-dataset"), ("2", "cats-estimate", "estimate")]


def test_a_job_that_failed_says_why_in_its_second_line(octavo, gateway):
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = FAILED
    lines = octavo("jobs", "show", JOB_ID).lines
    assert lines[:2] == [f"cats-frskd  {JOB_ID}", "failed: There is no module 'nope'."]
    assert "  method     frskd train=cats@1" in lines
    assert "Traceback" not in "\n".join(lines)


def test_a_fault_of_the_platform_is_shown_with_its_traceback_last(octavo, gateway):
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = {**FAILED, "error": {**ERROR, "user_error": False}}
    assert octavo("jobs", "show", JOB_ID).lines[-2:] == ["Traceback", "  x.py"]


def test_attempts_are_listed_where_there_were_several(octavo, gateway):
    attempts = [ATTEMPT, {**ATTEMPT, "epoch": 2}]
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = {**FAILED, "attempts": attempts}
    assert "  attempt 2  error, 2.0 s: There is no module 'nope'." in octavo("jobs", "show", JOB_ID).lines


def test_metrics_of_the_test_split_come_first(octavo, gateway):
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = JOB
    names = [line.split()[0] for line in octavo("jobs", "show", JOB_ID).lines if line]
    shown = [name for name in names if "/" in name or name == "size"]
    assert shown == ["test/accuracy", "test/nll", "val/accuracy", "train/loss", "size"]


def test_settings_are_listed_by_name_as_they_are_set(octavo, gateway):
    config = {"lr": 0.1, "amp": None, "epochs": 3, "sla": False}
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = {**JOB, "spec": {**JOB["spec"], "config": config}}
    rows = [line.split() for line in octavo("jobs", "show", JOB_ID).lines[-4:]]
    assert rows == [["amp", "none"], ["epochs", "3"], ["lr", "0.1"], ["sla", "false"]]


def test_following_ends_with_what_can_be_done_next(octavo, gateway):
    gateway.answers |= {
        f"GET /v1/jobs/{JOB_ID}": JOB,
        f"GET /v1/jobs/{JOB_ID}/events": stream(("progress", {"fraction": 1.0})),
        f"GET /v1/jobs/{JOB_ID}/artifacts": {"items": [REPORT]},
    }
    lines = octavo("jobs", "follow", JOB_ID).lines
    assert lines[-3:] == [
        "model cats-frskd@1 is ready",
        "Its report: octavo jobs report 3f0c1e6d --open",
        "Serve it with: octavo deploy cats-frskd",
    ]


def test_following_says_once_why_a_job_failed(octavo, gateway):
    fails = {"from": "running", "to": "failed", "reason": "error (attempt 3 of 3)", "epoch": 1}
    gateway.answers |= {
        f"GET /v1/jobs/{JOB_ID}": FAILED,
        f"GET /v1/jobs/{JOB_ID}/events": stream(("status", fails)),
    }
    ended = octavo("jobs", "follow", JOB_ID)
    assert ended.lines == ["failed"]
    assert (ended.out + ended.err).count("There is no module 'nope'.") == 1


def test_following_says_why_an_attempt_failed(octavo, gateway):
    waits = {"from": "running", "to": "retry_wait", "reason": "error", "epoch": 1}
    gateway.answers |= {
        f"GET /v1/jobs/{JOB_ID}": {**FAILED, "attempts": [ATTEMPT], "attempts_used": 3},
        f"GET /v1/jobs/{JOB_ID}/events": stream(("status", waits)),
    }
    ended = octavo("jobs", "follow", JOB_ID)
    assert ended.lines == ["retry_wait: There is no module 'nope'."]
    assert ended.code == 1
    assert "failed: There is no module 'nope'. (attempt 3 of 3)" in ended.err


def test_events_in_a_pipe_are_lines_without_padding_or_python(octavo, gateway):
    events = [
        {
            "seq": 1,
            "kind": "progress",
            "data": {"fraction": 0.5, "note": "step 3"},
            "at": "2026-01-01T00:00:01.5+00:00",
        },
        {"seq": 2, "kind": "metrics", "data": {"values": {"train/loss": {"step": 3, "value": 0.25}}}, "at": None},
        {"seq": 3, "kind": "status", "data": {"to": "retry_wait", "reason": "error", "epoch": 1}, "at": None},
        {"seq": 4, "kind": "new", "data": {"a": 1, "b": "c"}, "at": None},
    ]
    pages = [{"items": events, "next_after": 4}, {"items": [], "next_after": 4}]
    gateway.answers |= {
        f"GET /v1/jobs/{JOB_ID}": {**FAILED, "attempts": [ATTEMPT]},
        f"GET /v1/jobs/{JOB_ID}/events": pages,
    }
    ended = octavo("jobs", "events", JOB_ID)
    assert ended.out.splitlines() == ended.lines
    assert ended.lines[0] == "    1  2026-01-01T00:00:01  progress    50% step 3"
    assert ended.lines[1].split()[1:] == ["metrics", "train/loss", "0.25"]
    assert ended.lines[2].endswith("status      retry_wait: There is no module 'nope'.")
    assert ended.lines[3].endswith("new         a 1  b c")


@pytest.mark.parametrize(
    ("action", "status", "lines"),
    [
        ("cancel", "cancelled", ["cats-frskd is cancelled: " + JOB_ID]),
        ("cancel", "cancelling", ["cats-frskd is cancelling: " + JOB_ID, "See it with: octavo jobs follow 3f0c1e6d"]),
        ("pause", "paused", ["cats-frskd is paused: " + JOB_ID, "Go on with: octavo jobs resume 3f0c1e6d"]),
    ],
)
def test_what_can_be_done_next_fits_the_state(octavo, gateway, action: str, status: str, lines: list[str]):
    gateway.answers[f"GET /v1/jobs/{JOB_ID}"] = JOB
    gateway.answers[f"POST /v1/jobs/{JOB_ID}/{action}"] = {**JOB, "status": status}
    assert octavo("jobs", action, JOB_ID).lines == lines


def test_a_report_is_written_where_it_can_be(octavo, gateway, tmp_path):
    gateway.answers |= {
        f"GET /v1/jobs/{JOB_ID}": JOB,
        f"GET /v1/jobs/{JOB_ID}/report": httpx2.Response(200, text="<html>"),
    }
    assert octavo("jobs", "report", JOB_ID, "-o", tmp_path / "r.html").code == 0
    assert (tmp_path / "r.html").read_text() == "<html>"
    refused = octavo("jobs", "report", JOB_ID, "-o", tmp_path / "nowhere" / "r.html")
    assert refused.code == 1
    assert "cannot be written" in refused.err


def test_a_comparison_shows_its_runs_and_what_came_out(octavo, gateway):
    child = {"id": "aaaaaaaa-1", "role": "runs/afd/0", "status": "succeeded", "progress": 1.0}
    figures = {"kd": {"nll": [0.3, 0.02], "accuracy": [0.8, 0.0]}, "afd": {"nll": [0.2, 0.1], "accuracy": [0.9, 0.01]}}
    details = {
        "seeds": [0, 1], "figures": figures, "verdicts": ["It is not larger."], "arms": ["afd", "kd"],
        "names": ["accuracy", "nll"], "beside": {"known": {"nll": 0.4}, "teacher": {"accuracy": 0.95}},
        "beside_names": ["teacher", "known"], "registered": {"known": {"note": "It was trained on other data."}},
    }  # fmt: skip
    job = {
        "id": "3f0c1e6d-0d6f-4a7c-9d1f-8f6f0a4b2c1d", "name": "c", "method": "compare", "status": "succeeded",
        "created_at": "2026-06-01T01:00:00Z", "children": [child], "result": {"metrics": {}, "details": details},
    }  # fmt: skip
    gateway.answers[f"GET /v1/jobs/{job['id']}"] = job
    ended = octavo("jobs", "show", job["id"])
    assert ended.code == 0, ended.err
    assert any(line.split() == ["aaaaaaaa", "runs/afd/0", "succeeded", "100%"] for line in ended.lines)
    assert any(
        line.split() == ["mean", "±", "sd", "of", "2", "seeds", "afd", "kd", "teacher", "known"] for line in ended.lines
    )
    shown = [line.split() for line in ended.lines if line.startswith(("accuracy", "nll"))]
    assert shown == [
        ["accuracy", "0.9", "±", "0.01", "0.8", "±", "0", "0.95"],
        ["nll", "0.2", "±", "0.1", "0.3", "±", "0.02", "0.4"],
    ]
    assert "It was trained on other data." in ended.lines
    assert "It is not larger." in ended.lines
