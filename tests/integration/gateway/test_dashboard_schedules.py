"""The dashboard's pages of schedules."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from services.gateway.dashboard.schedules.routes import _unpinned, next_times
from services.gateway.schedules.schemas import Schedule
from tests.support.dashboard import HOSTILE, Browser, fields_sent
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.registry import add_version, next_item_bundle

NIGHTLY = {"schedule/name": "nightly", "schedule/cron": "0 3 * * *", "schedule/timezone": "Europe/Berlin"}


def test_a_schedule_is_made_by_its_form_and_steered(browser: Browser, client: TestClient, digits: str):
    assert "No schedules yet" in browser.get("/schedules").text
    form = browser.get("/new-schedule?method=frskd").text
    assert re.search('id="datasets-train" name="datasets/train" value="digits"', form)
    typed = {**NIGHTLY, "datasets/train": "digits", "config/epochs": "3"}
    made = browser.submit("/new-schedule?method=frskd", typed)
    assert made.headers["location"] == "/schedules/nightly", made.text
    job = client.get("/v1/schedules/nightly").json()["job"]
    assert (job["method"], job["datasets"], job["config"]["epochs"]) == ("frskd", {"train": "digits"}, 3)
    page = browser.get("/schedules/nightly").text
    assert page.count("03:00 CE") == 5
    assert "It has not fired yet" in page
    taken = browser.submit("/new-schedule?method=frskd", typed)
    assert re.search('id="schedule-name-error">There is a schedule', taken.text)
    ran = browser.submit("/schedules/nightly/run").headers["location"]
    assert '<a href="/schedules/nightly">nightly</a>' in browser.get(ran).text
    assert f'<a href="{ran}">digits-frskd</a>' in browser.get("/schedules/nightly").text
    assert "digits-frskd" in browser.get("/jobs?schedule=nightly").text
    plan = {"name": "weekly", "every_s": 7 * 86_400, "job": {"method": "frskd", "datasets": {"train": "digits"}}}
    assert client.post("/v1/schedules", json=plan).status_code == 201
    assert "every 7 d" in browser.get("/schedules/weekly").text  # its job has no more than it needs
    assert "No job fits" in browser.get("/jobs?schedule=weekly").text
    busy = browser.submit("/schedules/nightly/run")
    assert (busy.status_code, "has not ended" in busy.text) == (409, True)
    assert browser.submit("/schedules/nightly/pause").status_code == 303
    assert "None while it is paused" in browser.get("/schedules/nightly").text
    assert browser.submit("/schedules/nightly/resume").status_code == 303
    copied = browser.get(f"/new-schedule?from={ran.removeprefix('/jobs/')}").text
    assert re.search('name="config/epochs" value="3"', copied)
    assert re.search('name="datasets/train" value="digits"', copied)
    assert browser.submit("/schedules/nightly/delete").headers["location"] == "/schedules"
    assert browser.get("/schedules/nightly").status_code == 404


PLANS: dict[str, dict[str, Any]] = {
    "a data set made first": {
        "every_s": 3600, "overlap": "allow",
        "dataset": {
            "name": "clicks", "source": {"recorded": {"base": "films", "types": ["view", "buy"]}},
            "validation": {"kind": "events"},
        },
        "job": {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop@1"}},
    },
    "what a form has no words for, and a comparison": {
        "cron": "0 3 * * *", "timezone": "Europe/Berlin",
        "job": {
            "method": "frskd", "datasets": {"train": "digits"}, "name": "nightly", "seed": 0, "timeout_s": None,
            "config": {"epochs": 3, "lr": 0.05, "mix_alpha": 0.5}, "compare": {"seeds": [1, 2]}, "max_attempts": 2,
            "resources": {"gpus": 1},
        },
    },
    "a teacher that is there": {
        "cron": "*/30 * * * *",
        "job": {
            "method": "afd", "datasets": {"train": "digits"}, "models": {"teacher": "cats"}, "config": {"kd_weight": 0},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_schedule_that_is_saved_as_it_stands_stays_what_it_is(
    browser: Browser, client: TestClient, engine: Engine, digits: str, plan: dict[str, Any]
):
    with transaction(engine) as session:
        add_dataset(session, "films", manifest=EVENTS_MANIFEST)
        add_version(session, "shop", bundle=next_item_bundle())
        add_version(session)
    made = client.post("/v1/schedules", json={"name": "nightly", **plan})
    assert made.status_code == 201, made.text
    form = browser.get("/schedules/nightly/edit").text
    assert ("(<code>validation</code>)" in form) == ("dataset" in plan)
    saved = browser.submit("/schedules/nightly/edit", fields_sent(form, "/schedules/nightly/edit"))
    assert saved.headers.get("location") == "/schedules/nightly", saved.text
    before, after = made.json(), client.get("/v1/schedules/nightly").json()
    assert before.pop("updated_at") < after.pop("updated_at")
    teacher = before["job"].get("models", {}).pop("teacher", None)
    assert after["job"].pop("teacher", None) == teacher
    empty: dict[str, Any] = {"datasets": {}, "models": {}, "config": {}}
    assert {**empty, **after.pop("job")} == {**empty, **before.pop("job")}
    assert after == before


def test_a_schedule_is_changed_by_its_form(browser: Browser, client: TestClient, digits: str):
    plan = PLANS["what a form has no words for, and a comparison"]
    assert client.post("/v1/schedules", json={"name": "nightly", **plan}).status_code == 201
    client.post("/v1/schedules/nightly/pause")
    address = "/schedules/nightly/edit"
    assert f'href="{address}"' in browser.get("/schedules/nightly").text
    sent = fields_sent(browser.get(address).text, address)
    assert "schedule/name" not in sent
    wrong = browser.submit(address, {**sent, "schedule/cron": "often", "config/epochs": "0"})
    assert (wrong.status_code, 'id="schedule-cron-error"' in wrong.text) == (422, True)
    wrong = browser.submit(address, {**sent, "schedule/every_s": "3600", "config/lr": HOSTILE})
    assert "either <code>cron</code> or <code>every_s</code>" in wrong.text
    wrong = browser.submit(address, {**sent, "config/epochs": "0", "datasets/train": "gone"})
    assert re.search(
        'id="config-epochs" name="config/epochs" value="0".*id="config-epochs-error"', wrong.text, re.DOTALL
    )
    changed = {
        "schedule/cron": "",
        "schedule/every_s": "7200",
        "config/epochs": "",
        "config/batch_size": "8",
        "compare": "",
    }
    assert browser.submit(address, {**sent, **changed}).status_code == 303
    stored = client.get("/v1/schedules/nightly").json()
    assert (stored["cron"], stored["every_s"], stored["status"]) == (None, 7200, "paused")
    assert stored["job"]["config"] == {"lr": 0.05, "mix_alpha": 0.5, "batch_size": 8}
    assert ("compare" in stored["job"], stored["job"]["timeout_s"], stored["job"]["max_attempts"]) == (False, None, 2)
    stale = browser.submit(address, {**sent, "schedule/cron": "", "schedule/every_s": "60"})
    assert (stale.status_code, "changed after this page was loaded" in stale.text) == (422, True)
    assert browser.submit(address, fields_sent(stale.text, address)).status_code == 303
    assert client.get("/v1/schedules/nightly").json()["every_s"] == 60
    assert browser.get("/schedules/none/edit").status_code == 404
    assert browser.post(address, data=sent | {"csrf_token": ""}).status_code == 403


def test_what_is_wrong_stands_beside_its_field(browser: Browser, digits: str):
    typed = {"schedule/name": "A b", "schedule/cron": "often", "config/epochs": "0", "datasets/train": "digits"}
    answer = browser.submit("/new-schedule?method=frskd", typed)
    assert answer.status_code == 422
    assert 'id="schedule-name-error"' in answer.text
    assert re.search('id="schedule-cron-error">A cron expression has five fields', answer.text)
    answer = browser.submit("/new-schedule?method=frskd", {**typed, **NIGHTLY})
    assert 'id="config-epochs-error"' in answer.text
    assert "Nothing was sent" in answer.text
    answer = browser.submit("/new-schedule?method=frskd", {**NIGHTLY, "datasets/train": HOSTILE})
    assert "<script>" not in answer.text
    assert 'id="datasets-train-error"' in answer.text


def test_a_schedule_makes_a_data_set_of_recorded_events_first(browser: Browser, client: TestClient, engine: Engine):
    with transaction(engine) as session:
        add_dataset(session, "films", manifest=EVENTS_MANIFEST)
        add_version(session, "shop", bundle=next_item_bundle())
    dataset = "schedule/dataset#1/"
    typed = {
        **NIGHTLY, "schedule/dataset": "1", f"{dataset}name": "clicks", f"{dataset}source/recorded": "1",
        f"{dataset}source/recorded#1/base": "films", f"{dataset}source/recorded#1/since_days": "30",
        "datasets/train": "clicks", "models/init": "shop",
    }  # fmt: skip
    made = browser.submit("/new-schedule?method=update", typed)
    assert made.headers["location"] == "/schedules/nightly", made.text
    recorded = {"base": "films", "since_days": 30}
    stored = client.get("/v1/schedules/nightly").json()["dataset"]
    assert stored == {"name": "clicks", "source": {"recorded": recorded}}
    assert ">clicks</a>, of recorded" in browser.get("/schedules/nightly").text
    wrong = browser.submit(
        "/new-schedule?method=update", {**typed, "schedule/name": "x", f"{dataset}source/recorded#1/since_days": "0"}
    )
    assert 'id="schedule-dataset_1-source-recorded_1-since_days-error"' in wrong.text


def test_a_schedule_of_a_job_reads_the_newest_of_everything_it_names():
    train = "teacher#2/finetune#1/"
    texts = {
        "datasets/train": "d@7", "models/init": "m@7", "teacher": "2", "teacher#1": "t@7", "teacher#2/init": "t@7",
        f"{train}dataset": "d@7", f"{train}model": "a@7", "name": "a@7",
    }  # fmt: skip
    pinned = {name for name, text in _unpinned(texts).items() if "@" in text}
    assert pinned == {f"{train}model", "name"}


def test_next_times_go_by_the_clock_of_the_schedule():
    at = datetime(2026, 3, 28, 2, 0, tzinfo=UTC)
    fields = dict.fromkeys(Schedule.model_fields)
    berlin = Schedule.model_construct(**fields | {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "next_run_at": at})
    assert [time.hour for time in next_times(berlin, 3)] == [3, 3, 3]
    hourly = Schedule.model_construct(**fields | {"every_s": 3600, "timezone": "UTC", "next_run_at": at})
    assert [time.hour for time in next_times(hourly, 3)] == [2, 3, 4]
    assert next_times(Schedule.model_construct(**fields | {"timezone": "UTC"}), 3) == []
