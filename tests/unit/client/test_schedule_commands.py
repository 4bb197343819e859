"""`octavo schedules`: what is sent, and what is shown."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from libs.client.client import Octavo

UPDATE = {
    "name": "update", "kind": "task", "datasets": ["train"], "models": ["init"],
    "config_schema": {"properties": {"promote": {"type": "string"}, "epochs": {"type": "integer"}}},
}  # fmt: skip
RUN: dict[str, Any] = {
    "id": "r1", "planned_at": "2026-06-01T01:00:00Z", "fired_at": "2026-06-01T01:00:00Z", "fired_by": "clock",
    "outcome": "submitted", "reason": None, "dataset": "clicks@2",
    "job": {
        "id": "3f0c1e6d-0d6f", "name": "clicks-update", "status": "succeeded", "reason": None,
        "model": {"name": "shop", "version": 2, "status": "ready", "promoted": "production"},
    },
}  # fmt: skip
REFUSED = {**RUN, "outcome": "refused", "dataset": None, "job": None, "reason": "/job/models/init: There is no model."}
NIGHTLY: dict[str, Any] = {
    "name": "nightly", "cron": "0 3 * * *", "every_s": None, "timezone": "Europe/Berlin", "status": "active",
    "status_reason": None, "next_run_at": "2026-06-02T01:00:00Z", "overlap": "skip", "misfire": "once",
    "job": {"method": "update"}, "dataset": None, "last_run": RUN,
}  # fmt: skip
CREATE = ("schedules", "create", "nightly", "update", "--cron", "0 3 * * *", "--tz", "Europe/Berlin")


@pytest.fixture
def answering(gateway):
    gateway.answers |= {
        "GET /v1/methods/update": UPDATE,
        "POST /v1/schedules": NIGHTLY,
        "PUT /v1/schedules/nightly": NIGHTLY,
        "GET /v1/schedules": {"items": [NIGHTLY]},
        "GET /v1/schedules/nightly": NIGHTLY,
        "GET /v1/schedules/nightly/runs": {"items": [REFUSED, RUN]},
        "POST /v1/schedules/nightly/runs": RUN,
    }
    return gateway


def test_a_schedule_is_made_of_options(octavo, answering):
    events = ("--from-events", "clicks", "--base", "clicks@1", "--since", "30")
    ended = octavo(*CREATE, "-m", "shop@production", "-s", "promote=production", *events)
    assert ended.code == 0, ended.err
    assert answering.sent("POST", "/v1/schedules") == [
        {
            "name": "nightly",
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "dataset": {"name": "clicks", "source": {"recorded": {"since_days": 30, "base": "clicks@1"}}},
            "job": {
                "method": "update",
                "datasets": {"train": "clicks"},
                "models": {"init": "shop@production"},
                "config": {"promote": "production"},
            },
        }
    ]
    assert ended.lines[0] == "nightly is active; 2026-06-02 03:00 CEST"


def test_a_file_holds_a_job_or_a_whole_schedule_and_options_win(octavo, answering, tmp_path: Path):
    (tmp_path / "job.yaml").write_text("method: update\nmodels: {init: shop}\ndatasets: {train: clicks}\n")
    whole = "cron: '* * * * *'\noverlap: allow\njob: {method: update, models: {init: shop}, config: {epochs: 3}}\n"
    (tmp_path / "schedule.yaml").write_text(whole)
    for file in ("job.yaml", "schedule.yaml"):
        ended = octavo("schedules", "create", "nightly", "--every", "6h", "-f", tmp_path / file, "-d", "clicks@1")
        assert ended.code == 0, ended.err
    first, second = answering.sent("POST", "/v1/schedules")
    job = {"method": "update", "models": {"init": "shop"}, "datasets": {"train": "clicks@1"}}
    assert first == {"name": "nightly", "every_s": 21_600, "job": job}
    assert second == {"name": "nightly", "every_s": 21_600, "overlap": "allow", "job": {**job, "config": {"epochs": 3}}}


def test_replace_changes_the_one_there_is(octavo, answering):
    assert octavo(*CREATE, "-m", "shop", "-d", "clicks", "--replace").code == 0
    (sent,) = answering.sent("PUT", "/v1/schedules/nightly")
    assert sent.keys() == {"cron", "timezone", "job"}


def test_wrong_usage_is_told_before_anything_is_sent(octavo, answering, tmp_path: Path):
    file = tmp_path / "s.yaml"
    file.write_text("crno: '* * * * *'\njob: {method: update}\n")
    for arguments, said in (
        (("--file", file), "has no field 'crno'"),
        (("update", "--base", "clicks"), "belong to --from-events"),
        (("update", "--every", "often"), "is not an age"),
        (("--every", "1d"), "Name a method"),
        (("update", "--dataset", "clicks"), "Give --cron or --every"),
    ):
        ended = octavo("schedules", "create", "nightly", *arguments)
        assert (ended.code, said in " ".join(ended.err.split())) == (2, True), ended.err
    assert answering.sent("POST", "/v1/schedules") == []


def test_a_refusal_names_the_field(octavo, answering):
    error = {"pointer": "/cron", "message": "The field hour is not valid.", "location": "body"}
    problem = {"detail": "cron: The field hour is not valid.", "code": "invalid_request", "errors": [error]}
    answering.answers["POST /v1/schedules"] = httpx2.Response(422, json=problem)
    ended = octavo(*CREATE, "-m", "shop", "-d", "clicks")
    assert ended.code == 4
    assert "cron" in ended.err
    assert "The field hour is not valid." in ended.err


def test_the_list_says_what_is_next_and_what_came_last(octavo, answering):
    _, line = octavo("schedules", "ls").lines
    assert line.startswith("nightly  0 3 * * * Europe/Berlin  update  active  2026-06-02 03:00 CEST")
    assert line.endswith("succeeded  shop@2 is ready, now production")


def test_one_schedule_shows_its_runs(octavo, answering):
    answering.answers["GET /v1/schedules/nightly"] = {
        **NIGHTLY, "status": "paused", "next_run_at": None, "status_reason": "refused 5 times in a row", "cron": None,
        "every_s": 7200,
    }  # fmt: skip
    ended = octavo("schedules", "show", "nightly")
    assert "nightly is paused" in ended.lines[0]
    assert "  why   refused 5 times in a row" in ended.lines
    assert "  when  every 2 h" in ended.lines
    refused, made = ended.lines[-2:]
    assert refused.startswith("2026-06-01 03:00 CEST")
    assert refused.endswith("/job/models/init: There is no model.")
    assert "refused" in refused
    assert made.endswith("succeeded  3f0c1e6d  shop@2 is ready, now production")


def test_its_jobs_are_listed_without_validations(octavo, answering):
    job = {
        "id": "3f0c1e6d-0d6f", "name": "clicks-update", "method": "update", "status": "succeeded", "progress": 1.0,
        "created_at": "2026-06-01T01:00:00Z", "schedule": "nightly",
    }  # fmt: skip
    check = {**job, "id": "9a51c2de-6d0b", "name": "validate-clicks", "method": "validate-dataset"}
    answering.answers["GET /v1/schedules/nightly/jobs"] = {"items": [job, check]}
    answering.answers["GET /v1/jobs"] = {"items": [job]}
    _, *lines = octavo("schedules", "jobs", "nightly").lines
    assert [line.split()[:4] for line in lines] == [["3f0c1e6d", "clicks-update", "update", "succeeded"]]
    assert len(octavo("schedules", "jobs", "nightly", "--all").lines) == 3
    assert "3f0c1e6d" in octavo("jobs", "ls", "--schedule", "nightly").out
    assert answering.asked[-1].url.params["schedule"] == "nightly"
    with Octavo() as client:
        assert [one.schedule for one in client.schedules.jobs("nightly")] == ["nightly"] * 2


def test_pause_resume_run_and_rm(octavo, answering):
    answering.answers |= {
        "POST /v1/schedules/nightly/pause": {**NIGHTLY, "status": "paused", "next_run_at": None},
        "POST /v1/schedules/nightly/resume": NIGHTLY,
        "DELETE /v1/schedules/nightly": httpx2.Response(204),
    }
    assert "is paused; go on with: octavo schedules resume nightly" in octavo("schedules", "pause", "nightly").out
    assert "is active" in octavo("schedules", "resume", "nightly").out
    assert "clicks@2 is made first; clicks-update is succeeded" in octavo("schedules", "run", "nightly").out
    assert octavo("schedules", "rm", "nightly", "--yes").lines == ["Deleted: nightly"]


def test_the_client_reads_what_became_of_a_schedule(octavo, answering):
    with Octavo() as client:
        made = client.schedules.create("nightly", {"method": "update"}, cron="0 3 * * *")
        assert made.newest is not None
        assert made.newest.job is not None
        assert [run.outcome for run in client.schedules.runs("nightly")] == ["refused", "submitted"]
    assert answering.asked[0].headers["idempotency-key"]
