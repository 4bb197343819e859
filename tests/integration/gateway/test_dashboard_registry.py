"""The dashboard's pages of data sets, models, deployments, workers and keys."""

import json
import re
from dataclasses import replace
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, DatasetVersion, Model
from libs.jobs import queue, workers
from libs.jobs.spec import parse_spec
from libs.jobs.submit import submit
from libs.registry import datasets
from libs.registry.deployments import DeploymentSettings, create_deployment, find_deployment, set_loaded
from services.gateway.dashboard.deployments.statistics import parsed
from services.gateway.dashboard.deployments.traffic import arms_of
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.trying import serving
from services.gateway.dashboard.trying.pictures import bars_of
from services.gateway.dashboard.trying.session import picks
from services.gateway.deployments.schemas import Deployment
from services.gateway.inference.proxy import Upstream
from tests.integration.gateway.conftest import KeyMaker
from tests.support.dashboard import HOSTILE, Browser
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.registry import add_version, next_item_bundle


def test_empty_pages_say_what_to_do_next(browser: Browser):
    for path, words in (
        ("/datasets", "No data sets yet"),
        ("/models", "Train one"),
        ("/deployments", "train one</a> first"),
        ("/workers", "Jobs wait until one starts"),
    ):
        assert words in browser.get(path).text


def test_each_page_says_where_in_the_navigation_it_is(browser: Browser):
    for path, section in (
        ("/", "/"),
        ("/new-dataset", "/datasets"),
        ("/new-schedule", "/schedules"),
        ("/keys", "/keys"),
    ):
        assert re.findall(r'<a href="([^"]+)" aria-current="page"', browser.get(path).text) == [section]


def only_version(session: Session, name: str) -> DatasetVersion:
    """Of a data set that has one."""
    row = datasets.find_dataset(session, DEFAULT_PROJECT_ID, name)
    return session.scalars(select(DatasetVersion).where(DatasetVersion.dataset_id == row.id)).one()


def test_data_sets_of_both_kinds_are_shown(browser: Browser, engine: Engine, digits: str):
    with transaction(engine) as session:
        add_dataset(session, "films", manifest=EVENTS_MANIFEST)
        row = datasets.find_dataset(session, DEFAULT_PROJECT_ID, "films")
        row.description = HOSTILE
        version = only_version(session, "films")
        version.report = {
            "problems": [
                {"severity": "warning", "code": "ties", "message": HOSTILE},
                {"code": "public", "message": "cannot be fetched"},
            ],
            "preview": [{"user": HOSTILE, "item": "i1", "time": "2026-01-01T00:00:00+00:00", "type": None}],
            "leakage": {"test_targets": 3, HOSTILE: {"deep": 1, "empty": {}}},
        }
    listed = browser.get("/datasets").text
    assert "12 events of 3 users and 4 items" in listed
    assert "8 pictures in 2 classes" in listed
    films, pictures = browser.get("/datasets/films").text, browser.get("/datasets/digits").text
    for page in (listed, films):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
    assert "First events" in films
    assert re.search(
        r'<li><strong class="error">error</strong> cannot be fetched</li><li><span class="help">warning', films
    )
    assert "test targets: 3, &lt;script&gt;" in films
    assert re.search(r'<th scope="row">cat</th><td data-label="train" class="number">3</td>', pictures)
    assert '<img class="sheet" src="/datasets/digits/versions/1/preview"' in pictures
    assert browser.get("/datasets/digits?version=2").status_code == 404
    assert browser.get("/datasets/digits/versions/1/preview").status_code == 404


def test_many_versions_are_shown_by_pages(browser: Browser, engine: Engine):
    with transaction(engine) as session:
        for _ in range(51):
            datasets.create_version(session, DEFAULT_PROJECT_ID, "nights", {"upload": "n.csv"})
            add_version(session)
    for address, words in (("/datasets/nights", "nights@51"), ("/models/cats", "Compare the two chosen")):
        first = browser.get(address).text
        assert words in first
        (older,) = re.findall(r'<a href="([^"]+)" rel="next">', first)
        second = browser.get(older).text
        numbers = [re.findall(r'<th scope="row"><a href="[^"]+"[^>]*>(\d+)</a>', page) for page in (first, second)]
        assert numbers == [[str(number) for number in range(51, 1, -1)], ["1"]]


def test_a_data_set_is_made_and_deleted_by_forms(browser: Browser):
    page = browser.submit("/new-dataset", {"name": "Cats", "source": "public", "source/public": "digitz"})
    assert page.status_code == 422
    assert "digitz" in page.text
    assert 'id="name-error"' in page.text
    assert 'value="Cats"' in page.text
    page = browser.submit("/new-dataset", {"name": "cats", "source": "path", "source/path": "/etc"})
    assert "not under a folder that data may be read from" in page.text
    made = browser.submit("/new-dataset", {"name": "cats", "source": "public", "source/public": "digits"})
    assert made.headers["location"] == "/datasets/cats?version=1"
    shown = browser.get(made.headers["location"]).text
    (job,) = re.findall(r'href="(/jobs/[^"]+)">this job', shown)
    refused = browser.submit("/datasets/cats/delete")
    assert (refused.status_code, "used by jobs that have not ended" in refused.text) == (409, True)
    assert browser.submit(f"{job}/cancel").status_code == 303
    assert browser.submit("/datasets/cats/delete").headers["location"] == "/datasets"


def test_a_data_set_is_made_of_recorded_events_and_checked_as_asked(
    browser: Browser, client: TestClient, engine: Engine
):
    with transaction(engine) as session:
        add_dataset(session, "films", manifest=EVENTS_MANIFEST)
    form = browser.get("/new-dataset").text
    assert '<option value="films"></option>' in form
    assert 'placeholder="0.1"' in form
    typed = {
        "name": "clicks", "source": "recorded", "source/recorded/base": "films", "source/recorded/types": "view, buy",
        "validation/val_fraction": "0.2", "validation/events/min_user_events": "3",
        "validation/near_duplicates": "true", "validation/events/header": "true",
    }  # fmt: skip
    assert browser.submit("/new-dataset", typed).headers["location"] == "/datasets/clicks?version=1"
    source = client.get("/v1/datasets/clicks/versions/1").json()["source"]
    assert source["recorded"] == {"base": "films@1", "types": ["view", "buy"]}
    with transaction(engine) as session:
        stored = only_version(session, "clicks").source
    validation = stored["validation"]
    assert (validation["val_fraction"], validation["events"]["min_user_events"]) == (0.2, 3)
    wrong = browser.submit("/new-dataset", {**typed, "source/recorded/since_days": "0", "validation/val_fraction": "2"})
    assert 'id="source-recorded-since_days-error"' in wrong.text
    assert 'id="validation-val_fraction-error"' in wrong.text
    assert wrong.text.count("greater than or equal to 1") == 1
    half = browser.submit("/new-dataset", {**typed, "validation/events/validate_from": "2026-01-01T00:00:00Z"})
    assert (half.status_code, "given together or not at all" in half.text) == (422, True)


def test_a_version_is_promoted_and_rolled_back_where_the_page_saw_the_alias(browser: Browser, cats: None):
    def move(version: int, revision: str) -> int:
        fields = {"alias": "production", "version": str(version), "revision": revision}
        return browser.submit("/models/cats/aliases", fields).status_code

    page = browser.get("/models/cats").text
    assert page.count(">Promote</button>") == 2  # of the two ready versions
    assert "not compared" in page
    assert move(2, "") == 303
    page = browser.get("/models/cats").text
    assert "Roll back to 1" in page
    assert page.count(">Promote</button>") == 1
    assert move(1, "") == 412  # the page that was filled in knew of no alias
    assert move(1, "7") == 412
    assert move(1, "1") == 303
    assert "no ready version before it" in browser.get("/models/cats").text
    assert move(3, "2") == 422  # it was rejected
    bad = browser.submit("/models/cats/aliases", {"alias": "A b", "version": "none"})
    assert bad.status_code == 422
    assert browser.submit("/models/cats/aliases/production/delete", {"revision": "2"}).status_code == 303
    assert "production → 1" not in browser.get("/models").text


def test_versions_are_compared_and_their_lineage_is_a_picture(browser: Browser, cats: None, engine: Engine):
    compared = browser.get("/models/compare?version=cats@1&version=cats@2").text
    assert "0.75" in compared
    assert re.search(r'<th scope="row">lr</th><td data-label="cats@1" class="long">0.1</td>', compared)
    assert browser.get("/models/compare?version=cats@1").status_code == 422
    version = browser.get("/models/cats/versions/2").text
    boxes = re.findall(r'<rect x="(\d+)" y="(\d+)"[^>]+class="box (\w+)( here)?"', version)
    assert sorted((kind, int(x)) for x, _, kind, _ in boxes) == [
        ("dataset_version", 6), ("job", 6), ("model_version", 306), ("model_version", 606),
    ]  # fmt: skip
    assert [x for x, _, _, here in boxes if here] == ["606"]
    assert 'href="/models/cats/versions/1"' in version
    with transaction(engine) as session:
        session.query(Model).one().description = HOSTILE
    assert "<script>" not in browser.get("/models/cats").text
    assert browser.get("/models/cats/versions/9").status_code == 404
    assert browser.submit("/models/cats/versions/3/delete").headers["location"] == "/models/cats"
    assert browser.submit("/models/cats/delete").headers["location"] == "/models"


def test_a_model_is_deployed_changed_and_no_longer_deployed(browser: Browser, cats: None, client: TestClient):
    form = browser.get("/deployments?model=cats").text
    assert "<option selected>cats@2</option>" in form
    wrong = browser.submit("/deployments", {"name": "C D", "model": "", "settings/threads": "0"})
    assert wrong.status_code == 422
    for name in ("name", "model", "settings-threads"):
        assert f'id="{name}-error"' in wrong.text
    assert (
        browser.submit("/deployments", {"name": "cats", "model": "cats@1", "settings/threads": "2"}).status_code == 303
    )
    page = browser.get("/deployments/cats").text
    assert 'placeholder="2"' in page
    changed = browser.submit("/deployments/cats", {"model": "cats@2", "settings/max_batch_size": "8"})
    assert changed.headers["location"] == "/deployments/cats"
    now = client.get("/v1/deployments/cats").json()
    assert (now["version"], now["settings"]["threads"], now["settings"]["max_batch_size"]) == (2, 2, 8)
    assert "does not answer" in browser.get("/deployments/cats/now").text
    assert "should be 2" in browser.get("/deployments").text
    assert browser.submit("/deployments/cats", {"settings/provider": "tpu"}).status_code == 422
    assert browser.submit("/deployments/cats/delete").headers["location"] == "/deployments"


def test_figures_of_deployments_are_read_from_prometheus_text():
    text = """# TYPE octavo_deployment_requests counter
octavo_deployment_requests_total{deployment="cats",outcome="ok",project="p"} 7.0
octavo_deployment_requests_total{deployment="cats",outcome="refused",project="p"} 2.0
octavo_deployment_requests_total{deployment="dogs",outcome="error",project="p"} 1.0
# TYPE octavo_deployment_seconds histogram
octavo_deployment_seconds_bucket{deployment="cats",le="0.01",project="p"} 6.0
octavo_deployment_seconds_bucket{deployment="cats",le="0.1",project="p"} 9.0
octavo_deployment_seconds_bucket{deployment="cats",le="+Inf",project="p"} 9.0
octavo_deployment_seconds_sum{deployment="cats",project="p"} 0.18
# TYPE octavo_other_requests counter
octavo_other_requests_total{route="/x"} 1.0
"""
    found = parsed(text)
    cats = found["p", "cats"]
    assert (cats.requests, cats.failed, cats.mean_s) == (9, 0, pytest.approx(0.02))
    assert [(bar.upto, bar.count, bar.share) for bar in cats.latency] == [
        ("10 ms", 6, 1.0), ("100 ms", 3, 0.5), ("more", 0, 0.0),
    ]  # fmt: skip
    assert (found["p", "dogs"].failed, found["p", "dogs"].latency) == (1, [])


def test_workers_show_what_they_have_in_hand(browser: Browser, engine: Engine, digits: str):
    worker_id = uuid4()
    with transaction(engine) as session:
        devices = {"cpus": 2, "gpus": []}
        about = {"pid": 7, "version": "0.1.0", "queues": ["cpu"], "devices": devices, "slots": 1}
        workers.report(session, worker_id, host=HOSTILE, **about)
        workers.report(session, uuid4(), host="idle", **about)
        job = submit(session, DEFAULT_PROJECT_ID, parse_spec({"method": "frskd", "datasets": {"train": "digits@1"}}))
        assert queue.claim(session, job.id, worker_id, 30.0)
        job_id = job.id
    page = browser.get("/workers").text
    assert f'<a href="/jobs/{job_id}">digits-frskd</a>' in page
    assert (page.count("alive</span>"), page.count(">nothing</td>"), "<script>" in page) == (2, 1, False)


def test_a_key_is_shown_once_and_revoked(browser: Browser, client: TestClient):
    assert browser.submit("/keys", {"name": "ci"}).status_code == 422
    made = browser.submit("/keys", {"name": HOSTILE, "scopes": ["jobs:read", "infer"]})
    (text,) = re.findall(r"oct_[0-9a-f]{10}_[0-9a-f]{48}", made.text)
    page = browser.get("/keys").text
    assert (text in page, "<script>" in page, "infer, jobs:read" in page) == (False, False, True)
    client.headers["authorization"] = f"Bearer {text}"
    assert client.get("/v1/jobs").status_code == 200
    revoke = re.findall(r'action="(/keys/\S+/revoke)"', page)[0]
    assert browser.submit(revoke).headers["location"] == "/keys"
    browser.get("/keys")
    client.app.state.keys.forget()
    assert client.get("/v1/jobs").status_code == 401


def test_a_recommender_is_told_where_to_be_asked(browser: Browser, engine: Engine):
    with transaction(engine) as session:
        add_version(session, "films", bundle=next_item_bundle())
    assert browser.submit("/deployments", {"name": "films", "model": "films@1"}).status_code == 303
    assert "next-item" in browser.get("/deployments").text


def test_requests_are_shared_between_recommenders(browser: Browser, client: TestClient, engine: Engine):
    with transaction(engine) as session:
        for name in ("films", "films-new", "films-old"):
            add_version(session, name, bundle=next_item_bundle())
            create_deployment(session, DEFAULT_PROJECT_ID, name, f"{name}@1")
    part = browser.get("/deployments/films/traffic").text
    assert "does not answer" in part  # the recommender, and so there are no figures
    assert re.search(r"100 % <span", part)
    assert part.count('name="share/') == 2
    shared = browser.submit("/deployments/films/traffic", {"share/films-new": "30", "share/films-old": " 2.5 % "})
    assert shared.headers["location"] == "/deployments/films"
    settings = client.get("/v1/deployments/films").json()["settings"]
    assert settings["traffic"] == {"films-new": 30.0, "films-old": 2.5}
    part = browser.get("/deployments/films/traffic").text
    assert re.search(r"67.5 % <span", part)
    assert 'name="share/films-new" value="30"' in part
    assert browser.submit("/deployments/films/traffic", {"share/films-new": "99.99999"}).status_code == 303
    assert 'name="share/films-new" value="99.99999"' in browser.get("/deployments/films/traffic").text
    for shares, words in (
        ({"share/films-new": "some"}, "is no number"),
        ({"share/films-new": "90", "share/films-old": "20"}, "100 % is all there is"),
        ({"share/cats": "1"}, "There is no deployment"),
    ):
        wrong = browser.submit("/deployments/films/traffic", shares)
        assert (wrong.status_code, words in wrong.text) == (422, True), wrong.text
    assert browser.submit("/deployments/films/traffic", {"share/films-new": "0"}).status_code == 303
    assert client.get("/v1/deployments/films").json()["settings"]["traffic"] == {}


def test_answers_of_arms_are_told_apart():
    settings = DeploymentSettings(traffic={"new": 30.0, "gone": 10.0})
    of = dict.fromkeys(Deployment.model_fields) | {"task": "next-item", "settings": settings}
    asked, new, other, cats = (
        Deployment.model_construct(**of | {"name": name, "model": f"m-{name}", "task": task})
        for name, task in (("shop", "next-item"), ("new", "next-item"), ("other", "next-item"), ("cats", "images"))
    )
    variants = [
        {"arm": "new", "stands_in_for": None, "requests": 7},
        {"arm": "shop", "stands_in_for": "new", "requests": 3},
    ]
    arms = arms_of(asked, [asked, new, other, cats], variants)
    assert [(arm.name, arm.share, arm.itself, (arm.taken or {}).get("requests")) for arm in arms] == [
        ("shop", 60, True, None), ("new", 30, False, 7), ("gone", 10, False, None), ("other", 0, False, None),
    ]  # fmt: skip


def test_feedback_says_what_it_needs(browser: Browser, engine: Engine, make_headers: KeyMaker):
    assert "Nothing recommends yet" in browser.get("/feedback").text
    with transaction(engine) as session:
        add_version(session, "films", bundle=next_item_bundle())
        add_dataset(session, "films", manifest=EVENTS_MANIFEST)
    page = browser.get("/feedback").text
    assert '<option value="model/films" selected>films</option>' in page
    assert "does not answer" in page
    assert browser.get("/feedback?of=cats").status_code == 422
    key = make_headers("events:read", "datasets:write")["Authorization"].removeprefix("Bearer ")
    assert browser.post("/login", data={"key": key}).status_code == 303
    page = browser.get("/feedback").text
    assert ("deployments:read and models:read" in page, "films" in page) == (True, False)
    assert "films" not in browser.get("/new-dataset").text
    assert '<option value="model/films" selected>' in browser.get("/feedback?of=model/films").text


def test_a_version_that_is_not_served_is_served_by_a_click(
    browser: Browser, cats: None, client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    page = browser.get("/try?deployment=cats@2&other=cats@1").text
    assert page.count("is not served, so it cannot be asked yet") == 2
    asked = {"version": "cats@2", "deployment": "cats@2", "other": "cats@1"}
    for _ in range(2):  # a second click finds what the first one made
        served = browser.submit("/try/serve", asked)
        assert served.headers["location"] == "/try?deployment=cats-v2&other=cats%401"
    assert client.get("/v1/deployments/cats-v2").json()["version"] == 2
    page = browser.get(served.headers["location"]).text
    assert "It is being loaded" in page
    assert page.count("is not served, so it cannot be asked yet") == 1
    assert browser.get("/try/waiting/cats-v2").status_code == 204
    assert "cats@3 cannot be asked" in browser.get("/try?deployment=cats@3").text  # it was rejected
    assert "there is no deployment of this name" in browser.get("/try?deployment=dogs").text
    with transaction(engine) as session:
        set_loaded(session, DEFAULT_PROJECT_ID, "cats-v2", False)
    assert "cats-v2 cannot be asked: it is unloaded" in browser.get("/try?other=cats-v2").text
    assert browser.submit("/try/serve", {"version": "cats@1"}).status_code == 303
    monkeypatch.setattr(serving, "_LISTED", 1)  # cats-v2 is older than those that are listed
    assert "cats-v2 cannot be asked: it is unloaded" in browser.get("/try?other=cats-v2").text
    set_serving(engine, "cats-v2")
    assert client.put("/v1/models/cats/aliases/production", json={"version": 2}).status_code in (200, 201)
    for named in ("cats-v2", "cats@2", "cats@production"):
        page = browser.get(f"/try?deployment={named}").text
        assert ('answer" data-deployment="cats-v2"' in page, "cannot be asked" in page) == (True, False)
        assert re.search('<option value="cats-v2" selected>', page)
    assert browser.submit("/try/serve", {"version": "cats@3"}).status_code in (409, 422)
    assert browser.submit("/try/serve", {"version": "nothing@1"}).status_code == 404


def test_a_key_that_may_not_serve_is_told_what_to_do(browser: Browser, cats: None, make_headers: KeyMaker):
    key = make_headers("infer", "deployments:read")["Authorization"].removeprefix("Bearer ")
    assert browser.post("/login", data={"key": key}).status_code == 303
    page = browser.get("/try?deployment=cats@2").text
    assert "octavo deploy cats@2" in page
    assert "/try/serve" not in page


def test_trying_something_says_what_is_missing(browser: Browser, cats: None, engine: Engine):
    assert "Nothing is served yet" in browser.get("/try").text
    answer = browser.post("/try/classify/cats", content=b"picture", headers={"content-type": "image/png"})
    assert answer.status_code == 403
    away = browser.submit("/try/session", {"deployment": "films", "item": ["i1"], "add": "i2"})
    assert (away.status_code, "does not answer" in away.text) == (503, True)


def set_serving(engine: Engine, *names: str) -> None:
    """As if these deployments were loaded."""
    with transaction(engine) as session:
        for name in names:
            row = find_deployment(session, DEFAULT_PROJECT_ID, name)
            row.loaded_version_id, row.status = row.version_id, "ready"


def test_two_recommenders_answer_the_same_picks(browser: Browser, cats: None, engine: Engine):
    with transaction(engine) as session:
        for name in ("films", "films-new"):
            add_version(session, "films", bundle=next_item_bundle())
            create_deployment(session, DEFAULT_PROJECT_ID, name, "films")
        add_version(session, "films", bundle=next_item_bundle())
        create_deployment(session, DEFAULT_PROJECT_ID, "cats", "cats")
    set_serving(engine, "films", "films-new", "cats")
    asked: list[tuple[str, list[str]]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        asked.append((body["model"], body["items"]))
        ids = {"films": ["a", "b", "c"], "films-new": ["b", HOSTILE]}.get(body["model"])
        if ids is None:
            return httpx2.Response(404, json={"detail": "No such deployment."})
        items = [{"item_id": one, "score": 0.5, "rank": place} for place, one in enumerate(ids, 1)]
        said = {"model": "films", "version": 1, "arm": body["model"], "strategy": "model", "unknown_items": 0}
        return httpx2.Response(200, json={**said, "items": items}, headers={"server-timing": "compute;dur=1.50"})

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://recommender")
    state = browser.app.state
    state.gateway = replace(state.gateway, recommender=Upstream("recommender", client))
    page = browser.get("/try?deployment=films@1&other=films@2&item=x").text
    assert asked == [("films", ["x"]), ("films-new", ["x"])]
    assert "1 by both, 2 only by films, 1 only by films-new" in page
    assert re.findall(r"<strong>([^<]+)</strong>[^/]*</span> <span class=.status only.>", page) == [
        "a",
        "c",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ]
    assert page.count("ms there and back; compute 1.5 ms") == 2
    assert '<option value="films-new" selected>' in page
    fields = {"deployment": "films", "other": "films-new", "item": ["x"], "add": "y"}
    part = browser.submit("/try/session", fields, **{"HX-Request": "true"}).text
    assert ("<html" in part, "1 by both" in part) == (False, True)
    whole = browser.submit("/try/session", fields).text  # as without a script
    assert ("<html" in whole, '<input type="hidden" name="item" value="y" form="choose">' in whole) == (True, True)
    assert asked[-4:] == [("films", ["x", "y"]), ("films-new", ["x", "y"])] * 2
    alone = browser.submit("/try/session", {"deployment": "films", "other": "gone"}).text
    assert ("No such deployment." in alone, "only here" in alone) == (True, False)
    page = browser.get("/try?deployment=films&other=films@3&item=x").text
    assert '<input type="hidden" name="item" value="x"><button class="primary">Serve films@3' in page
    served = browser.submit(
        "/try/serve", {"version": "films@3", "deployment": "films", "other": "films@3", "item": "x"}
    )
    assert served.headers["location"] == "/try?deployment=films&other=films-v3&item=x"
    assert "films-v3 is being loaded" in browser.get(served.headers["location"]).text
    assert "cats cannot be asked: it answers no such questions" in browser.get("/try?deployment=films&other=cats").text


def test_of_a_deployment_that_shares_its_requests_the_page_says_who_may_answer_and_who_did(
    browser: Browser, engine: Engine
):
    with transaction(engine) as session:
        add_version(session, "films", bundle=next_item_bundle())
        create_deployment(session, DEFAULT_PROJECT_ID, "other", "films")
        shared = DeploymentSettings(traffic={"other": 12.5})
        create_deployment(session, DEFAULT_PROJECT_ID, "films", "films", settings=shared)
    set_serving(engine, "films", "other")
    said = {"model": "films", "version": 1, "strategy": "model", "unknown_items": 0, "items": []}
    why = {"item_id": "x", "users_together": 0, "similarity": 0.5, "features": {"genre": 1.0, "year": 0.25}}
    answers = iter(
        [
            {"arm": "other"},
            {"arm": "films", "stands_in_for": "other"},
            {"arm": "films", "strategy": "similar", "items": [{"item_id": "y", "score": 0.5, "reasons": [why]}]},
            {"arm": "other"},
        ]
    )
    client = httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json={**said, **next(answers)})),
        base_url="http://recommender",
    )
    state = browser.app.state
    state.gateway = replace(state.gateway, recommender=Upstream("recommender", client))
    pages = [browser.get(f"/try?deployment={name}&item=x").text for name in ("films", "films", "films", "other")]
    assert ["other answers 12.5 % of them, it itself the rest" in page for page in pages] == [True, True, True, False]
    assert [re.findall(r"answered by[^<]*", page) for page in pages] == [
        ["answered by other"], ["answered by itself, as other is not loaded"], [], []
    ]  # fmt: skip
    like_it = "because of x (alike in genre, year, likeness 0.50)"
    assert [like_it in page for page in pages] == [False, False, True, False]
    assert ["The model did not answer" in page for page in pages] == [False, False, True, False]
    assert ["This model tells nothing" in page for page in pages] == [True, True, False, True]


def test_what_a_model_saw_is_drawn_as_bars():
    tensors = {"mixture": [0.5, 0.25], "skew_lift": [0.1, -0.2, 0.0], "matrix": [[1.0], [2.0], [3.0]]}
    lift, mixture = bars_of({"history": ["a", HOSTILE, "c"], "tensors": tensors})
    assert (lift.title, mixture.title) == ("Lift by skewness", "Mixture of relations")
    assert [(bar.y, bar.height, bar.negative) for bar in lift.bars] == [(24, 24, False), (48, 48, True), (48, 0, False)]
    assert lift.words == f"a: 0.100, {HOSTILE}: -0.200, c: 0.000"
    assert [(bar.y, bar.height) for bar in mixture.bars] == [(0, 96), (48, 48)]
    assert bars_of({"history": [], "tensors": {"drift": []}}) == []


def test_a_click_adds_an_item_takes_one_out_or_begins_again():
    picked = FormData([("item", "a"), ("item", "b"), ("typed", " c ")])
    assert picks(picked) == ["a", "b", "c"]
    assert picks(FormData([*picked.fields, ("add", "d")])) == ["a", "b", "d"]
    assert picks(FormData([("item", "a"), ("item", "b"), ("drop", "0")])) == ["b"]
    assert picks(FormData([("item", "a"), ("drop", "7")])) == ["a"]
    assert picks(FormData([*picked.fields, ("clear", "yes")])) == []
    assert len(picks(FormData([("item", f"i{n}") for n in range(500)]))) == 200


def test_a_file_is_sent_in_pieces_from_the_page(browser: Browser, client: TestClient):
    fields = {"name": "cats", "source": "upload", "source/upload": "cats.zip"}
    token = re.findall(r'name="csrf-token" content="(\w+)"', browser.get("/new-dataset").text)[0]
    begun = browser.submit("/new-dataset", fields, **{"HX-Request": "true"})
    assert (begun.status_code, begun.headers["hx-redirect"]) == (204, "/datasets/cats?version=1")
    address = "/datasets/cats/versions/1/upload"

    def send(content: bytes, offset: int, token: str = token) -> tuple[int, str | None]:
        headers = {"X-CSRF-Token": token, "Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        answer = browser.patch(address, content=content, headers=headers)
        return answer.status_code, answer.headers.get("upload-offset")

    assert send(b"abc", 0, token="0" * 64) == (403, None)
    assert send(b"abc", 0) == (204, "3")
    assert send(b"f", 5) == (409, "3")
    assert 'data-offset="3"' in browser.get("/datasets/cats").text
    assert send(b"de", 3) == (204, "5")
    assert browser.post(f"{address}/complete", headers={"X-CSRF-Token": token}).status_code == 204
    assert client.get("/v1/datasets/cats/versions/1").json()["status"] == "validating"
