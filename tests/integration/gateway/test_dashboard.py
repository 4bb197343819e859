"""The dashboard's pages over HTTP: login, forms, scopes, every page with hostile names, empty pages, errors."""

import re
from collections.abc import Callable, Iterator
from itertools import product
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, func, select, update
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import ApiKey, DashboardSession, Job, JobEvent
from libs.jobs import events, queue
from libs.jobs.moves import lock
from libs.jobs.reports import MetricPoint, record_metrics
from libs.jobs.states import ExitReason
from libs.web.auth import Scope
from services.gateway.app import create_app
from services.gateway.dashboard.jobs import routes as job_routes
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker
from tests.support.dashboard import HOSTILE, Browser
from tests.support.registry import add_version, next_item_bundle

LogIn = Callable[..., TestClient]


@pytest.fixture
def log_in(settings: GatewaySettings, make_headers: KeyMaker) -> Iterator[Callable[..., Browser]]:
    """Logs in with a key of the given scopes."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as started:

        def enter(*scopes: str) -> Browser:
            browser = Browser(started.app, raise_server_exceptions=False, follow_redirects=False)
            browser.headers["accept"] = "text/html"
            key = make_headers(*scopes)["Authorization"].removeprefix("Bearer ")
            if scopes:
                assert browser.post("/login", data={"key": key}).status_code == 303
            return browser

        yield enter


@pytest.fixture
def browser(log_in: Callable[..., Browser]) -> Browser:
    """Logged in with an admin key."""
    return log_in(Scope.ADMIN)


@pytest.fixture
def job_id(browser: Browser, digits: str) -> str:
    """A queued job, submitted by the form."""
    return submitted(browser, name="first")


def submitted(browser: Browser, **fields: str) -> str:
    answer = browser.submit("/jobs/new?method=frskd", {"datasets/train": "digits@1", **fields})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].removeprefix("/jobs/")


def test_a_page_leads_to_the_login_and_the_login_back(log_in: Callable[..., Browser], make_headers: KeyMaker):
    browser = log_in()
    answer = browser.get("/jobs?state=open")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/jobs%3Fstate%3Dopen")
    page = browser.get(answer.headers["location"])
    assert 'name="next" value="/jobs?state=open"' in page.text
    key = make_headers(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
    entered = browser.post("/login", data={"key": key, "next": "/jobs?state=open"})
    assert entered.headers["location"] == "/jobs?state=open"
    assert re.search(r"octavo_session=\S+; HttpOnly; Path=/; SameSite=lax", entered.headers["set-cookie"])
    assert browser.get("/jobs?state=open").status_code == 200


def test_the_login_leads_to_no_other_site(browser: Browser, make_headers: KeyMaker):
    key = make_headers(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
    for onward in ("//elsewhere.example/", "/\\elsewhere.example", "https://elsewhere.example", "x"):
        assert browser.post("/login", data={"key": key, "next": onward}).headers["location"] == "/"


def test_wrong_keys_get_one_answer_and_then_a_wait(log_in: Callable[..., Browser], make_headers: KeyMaker):
    browser = log_in()
    real = make_headers(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
    answers = [browser.post("/login", data={"key": key}) for key in ("", "nonsense", f"{real[:-1]}x") * 6]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert "not valid" in answers[0].text
    last = [browser.post("/login", data={"key": "nonsense"}).status_code for _ in range(3)]
    assert last == [401, 401, 429]


def test_the_database_holds_neither_the_token_nor_the_key(browser: Browser, engine: Engine):
    with engine.connect() as connection:
        (row,) = connection.execute(select(DashboardSession)).all()
    stored = f"{row}"
    assert browser.cookies["octavo_session"] not in stored
    assert b"oct_" not in row.sealed_key
    assert "oct_" not in stored


def test_a_session_ends_by_logout_by_time_and_with_its_key(log_in: Callable[..., Browser], engine: Engine):
    left, expired, revoked = (log_in(Scope.ADMIN) for _ in range(3))
    assert left.submit("/logout").headers["location"] == "/login"
    left.cookies.set("octavo_session", "anything")
    with transaction(engine) as session:
        newest = select(ApiKey.id).order_by(ApiKey.created_at.desc())
        revoked_id, expired_id = session.scalars(newest.limit(2)).all()
        session.execute(update(ApiKey).where(ApiKey.id == revoked_id).values(revoked_at=func.now()))
        ended = update(DashboardSession).where(DashboardSession.key_id == expired_id)
        session.execute(ended.values(expires_at=func.now()))
    revoked.app.state.keys.forget()
    for browser in (left, expired, revoked):
        assert browser.get("/jobs").headers["location"].startswith("/login")


def test_use_is_noted_and_puts_off_the_end_of_a_session(browser: Browser, engine: Engine):
    with transaction(engine) as session:
        session.execute(
            update(DashboardSession).values(
                last_used_at=func.now() - func.make_interval(0, 0, 0, 0, 2),
                expires_at=func.now() + func.make_interval(0, 0, 0, 0, 1),
            )
        )
    assert browser.get("/jobs").status_code == 200
    with engine.connect() as connection:
        left = connection.scalar(select(func.extract("epoch", DashboardSession.expires_at - func.now())))
    assert left > 11 * 3600


def test_a_form_without_the_sessions_token_is_refused(browser: Browser):
    wrong: tuple[dict[str, str], ...] = ({}, {"csrf_token": "0" * 64}, {"csrf_token": "ü"})
    for path, fields in product(("/logout", "/jobs/new?method=frskd", f"/jobs/{uuid4()}/cancel"), wrong):
        answer = browser.post(path, data={"x": "y", **fields})
        assert answer.status_code == 403
        assert "load the page again" in answer.text
    assert browser.get("/jobs").status_code == 200


def test_a_form_of_another_site_is_refused_even_with_the_token(browser: Browser):
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://else.example"},
    ):
        answer = browser.submit("/logout", **headers)
        assert (answer.status_code, "page of another site" in answer.text) == (403, True)
        assert browser.post("/login", data={"key": "x"}, headers=headers).status_code == 403
    assert browser.submit("/logout", **{"sec-fetch-site": "same-origin", "origin": "null"}).status_code == 303


def test_a_key_does_here_what_its_scopes_say(log_in: Callable[..., Browser], job_id: str):
    reader, models = log_in(Scope.JOBS_READ), log_in(Scope.MODELS_READ)
    assert reader.get(f"/jobs/{job_id}").status_code == 200
    assert models.get("/").status_code == 403
    for answer in (reader.get("/jobs/new"), reader.get("/schedules/nightly/edit"), models.get("/jobs")):
        assert answer.status_code == 403
        assert re.search(r"lacks the scope jobs:(read|write)", answer.text)
    token = re.findall(r'name="csrf-token" content="([0-9a-f]{64})"', reader.get("/jobs").text)[0]
    answer = reader.post(f"/jobs/{job_id}/cancel", data={"csrf_token": token})
    assert (answer.status_code, "jobs:write" in answer.text) == (403, True)


def test_a_form_lists_what_the_key_may_read(log_in: Callable[..., Browser], job_id: str):
    writer = log_in(Scope.JOBS_WRITE)
    for path in (f"/jobs/new?from={job_id}", f"/new-schedule?from={job_id}", "/schedules/nightly/edit"):
        answer = writer.get(path)
        assert (answer.status_code, "lacks the scope jobs:read" in answer.text) == (403, True)
    for path in ("/jobs/new?method=frskd", "/new-schedule?method=frskd"):
        page = writer.get(path).text
        assert 'name="datasets/train" value=""' in page
        assert [words in page for words in ("digits", "fits yet")] == [False, False]
    assert submitted(writer, name="typed")


def test_pages_carry_a_strict_policy_and_nothing_inline(browser: Browser, job_id: str):
    for path in ("/", "/jobs", "/jobs/new", "/jobs/new?method=rksa", f"/jobs/{job_id}", "/nowhere", "/login"):
        answer = browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.findall(r"<style|<script(?! src=\"/static/)|\son\w+=|\sstyle=|https?://", answer.text) == []


def test_static_files_are_kept_and_named_by_their_content(browser: Browser):
    page = browser.get("/jobs").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(addresses) > 2
    for address in addresses:
        answer = browser.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"].endswith("immutable")


def test_hostile_words_are_shown_and_not_run(browser: Browser, engine: Engine, job_id: str):
    with transaction(engine) as session:
        job = lock(session, UUID(job_id))
        job.name, job.progress_note, job.status_reason = HOSTILE, HOSTILE, HOSTILE
        events.append(session, job, [("log", {"level": "info", "message": HOSTILE, "fields": {HOSTILE: HOSTILE}})])
    for path in ("/", "/overview/now", "/jobs", "/jobs/rows", f"/jobs/{job_id}", f"/jobs/{job_id}/now"):
        text = browser.get(path).text
        assert "&lt;script&gt;" in text
        assert "<script>" not in text
    for path in (f"/jobs?name={HOSTILE}", f"/jobs/new?method={HOSTILE}", f"/jobs?state={HOSTILE}"):
        answer = browser.get(path)
        assert answer.status_code in (404, 422)
        assert "<script>" not in answer.text


def test_empty_pages_say_what_to_do_next(browser: Browser):
    assert "Make the first one" in browser.get("/").text
    assert "Make the first one" in browser.get("/jobs").text
    assert "No job fits this filter" in browser.get("/jobs?state=failed").text
    assert "There is no data set that fits yet" in browser.get("/jobs/new?method=frskd").text


def test_errors_are_pages_that_say_what_happened(browser: Browser, client: TestClient, job_id: str):
    for path, words in (
        (f"/jobs/{uuid4()}", "There is no job"),
        ("/nowhere", "There is no page at this address"),
        ("/jobs?cursor=wrong", "start again without a cursor"),
        ("/jobs?colour=red", "no such query parameter"),
        ("/jobs/new?method=frskt", "Did you mean"),
    ):
        answer = browser.get(path)
        assert answer.status_code in (404, 422)
        assert answer.headers["content-type"].startswith("text/html")
        assert words in answer.text, answer.text
    assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
    assert browser.get("/v1/nowhere").headers["content-type"] == "application/problem+json"
    answer = browser.submit(f"/jobs/{job_id}/resume")
    assert (answer.status_code, "Only a paused job is resumed" in answer.text) == (409, True)


def test_a_part_of_a_page_that_fails_is_a_part(browser: Browser):
    answer = browser.get(f"/jobs/{uuid4()}/now", headers={"HX-Request": "true"})
    assert (answer.status_code, "<html" in answer.text, "There is no job" in answer.text) == (404, False, True)
    browser.cookies.clear()
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/jobs?state=open"}
    answer = browser.get("/jobs/rows", headers=headers)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/login?next=/jobs%3Fstate%3Dopen")


def test_lists_page_and_filter(browser: Browser, engine: Engine, job_id: str):
    for number in range(50):
        submitted(browser, name=f"job-{number}")
    first = browser.get("/jobs?state=open")
    assert first.text.count('<th scope="row">') == 50
    (older,) = re.findall(r'<a href="([^"]+)" rel="next">', first.text)
    second = browser.get(older.replace("&amp;", "&"))
    assert re.findall(r'<a id="job-\S+" href="\S+">(\S+)</a>', second.text) == ["first"]
    assert "hx-get" in first.text
    assert "hx-get" not in second.text
    assert browser.get("/jobs?name=job-7&method=frskd").text.count('<th scope="row">') == 1


def test_the_form_is_made_of_the_methods_schema(browser: Browser, digits: str):
    page = browser.get("/jobs/new?method=frskd").text
    assert re.search('name="datasets/train" value="digits@1"[^>]* list="datasets-train-list"', page)
    assert '<option value="digits@1"></option>' in page
    assert re.search(r'<input id="config-alpha" name="config/alpha" value="" placeholder="2.0"', page)
    assert "Weight of the soft-label term" in page
    assert "≥ 0, ≤ 1\u202f000" in page
    assert re.search(r'id="config-calibrate" name="config/calibrate" value="true" checked', page)
    assert re.findall(r"<legend>(.+)</legend>", page) == [
        "What it reads", "The usual", "Of frskd", "Optimisation and bookkeeping", "Pictures", "Comparison", "compare",
        "The job itself",
    ]  # fmt: skip
    for method in re.findall(r'href="(/jobs/new\?method=[^"]+)"', browser.get("/jobs/new").text):
        assert browser.get(method).status_code == 200


def test_what_stands_beside_a_recommender_is_offered_by_method(browser: Browser, engine: Engine, digits: str):
    with transaction(engine) as session:
        add_version(session, "films-gru", bundle=next_item_bundle())
        add_version(session, "films-narm", bundle=next_item_bundle().model_copy(update={"architecture": "narm"}))
    page = browser.get("/jobs/new?method=rksa").text
    assert "Measured beside it: gru4rec" in page
    assert "Model: init" in page
    offered = re.search(r'<datalist id="models-gru4rec-list">(.*?)</datalist>', page, re.DOTALL)
    assert offered is not None
    assert re.findall(r'value="([^"]+)"', offered[1]) == ["films-gru@1"]
    assert "Comparison" in page


def test_a_comparison_is_shown_as_its_answers_and_a_table(
    browser: Browser, client: TestClient, engine: Engine, digits: str
):
    request = {"method": "frskd", "datasets": {"train": "digits"}, "compare": {"seeds": [0, 1]}}
    job = client.post("/v1/jobs", json=request).json()
    earlier = {
        "seeds": [0, 1], "verdicts": ["It is <b>better</b>."],
        "figures": {"frskd": {"accuracy": [0.91, 0.01]}, "supervised": {"accuracy": [0.9, 0.02]}},
    }  # fmt: skip
    now = {**earlier, "arms": ["supervised", "frskd"], "names": ["accuracy"], "beside": {"teacher": {}}}
    beside = {
        "beside": {"known": {}, "teacher": {}}, "beside_names": ["teacher", "known"],
        "registered": {"known": {"note": "It is <b>known</b>."}},
    }  # fmt: skip
    for details, columns in (
        (earlier, ["frskd", "supervised"]),
        (now, ["supervised", "frskd", "teacher"]),
        ({**now, **beside}, ["supervised", "frskd", "teacher", "known"]),
    ):
        result = {"metrics": {"frskd/accuracy": 0.91}, "details": details}
        with transaction(engine) as session:
            session.execute(update(Job).where(Job.id == UUID(job["id"])).values(result=result))
        page = browser.get(f"/jobs/{job['id']}").text
        assert "It is &lt;b&gt;better&lt;/b&gt;." in page
        assert "Final figures" not in page
        table = page.partition('id="compared-title"')[2].partition("</table>")[0]
        assert re.findall(r'class="number">([^<]+)</th>', table) == columns
        cells = re.findall(r'class="number">([^<]+)</td>', table)
        assert sorted(cells) == sorted(["0.91 ± 0.01", "0.9 ± 0.02", *(["\N{EN DASH}"] * (len(columns) - 2))])
        assert ("It is &lt;b&gt;known&lt;/b&gt;." in page) == ("known" in columns)


def test_a_teacher_is_named_or_made_first_and_a_method_compared(browser: Browser, client: TestClient, digits: str):
    page = browser.get("/jobs/new?method=afd").text
    assert [label in page for label in ("Data set: unlabelled", "one that is made first", "Model: teacher")] == [
        True, True, False,
    ]  # fmt: skip
    typed = {"datasets/train": "digits@1", "config/max_steps": "1"}
    without = browser.submit("/jobs/new?method=afd", typed)
    assert re.search(r'<p class="error" id="teacher-error">afd needs the name of a model', without.text)
    trained = {**typed, "teacher": "2", "teacher#2/train": "1", "teacher#2/train#1/max_steps": "0"}
    wrong = browser.submit("/jobs/new?method=afd", trained)
    assert 'id="teacher_2-train_1-max_steps-error"' in wrong.text
    assert 'id="teacher-error"' not in wrong.text
    compared = {"compare": "1", "compare#1/seeds": "0, 1", "compare#1/baselines": "supervised, kd"}
    made = browser.submit("/jobs/new?method=afd", {**trained, **compared, "teacher#2/train#1/max_steps": "2"})
    job = client.get(f"/v1{made.headers['location']}").json()
    assert (job["method"], job["spec"]["config"]["seeds"]) == ("compare", [0, 1])
    copy = browser.get(f"/jobs/new?from={job['id']}").text
    assert re.search('name="compare#1/seeds" value="0, 1"', copy)
    assert re.search('name="config/max_steps" value="1"', copy)
    assert re.search('name="teacher#2/train#1/max_steps" value="2"', copy)
    alone = browser.submit("/jobs/new?method=afd", {**trained, "teacher#2/train#1/max_steps": "2"})
    job = client.get(f"/v1{alone.headers['location']}").json()
    assert job["spec"]["teacher"]["train"]["max_steps"] == 2
    copy = browser.get(f"/jobs/new?from={job['id']}").text
    assert re.search('name="teacher#2/train#1/max_steps" value="2"', copy)


def test_what_is_typed_becomes_the_request(browser: Browser, client: TestClient, digits: str):
    typed = {
        "name": "mine", "seed": "7", "resources/device": "cpu", "config/epochs": "3", "config/lr": "0.05",
        "config/milestones": "0.3, 0.6", "config/sla": "true", "config/beta_mode": "sum", "config/nesterov": "true",
        "config/taps": "layer1, layer2", "config/calibrate": "true",
    }  # fmt: skip
    job = client.get(f"/v1/jobs/{submitted(browser, **typed)}").json()
    spec, config = job["spec"], job["spec"]["config"]
    assert (job["name"], spec["seed"], spec["resources"]["device"]) == ("mine", 7, "cpu")
    assert {name: config[name] for name in ("epochs", "lr", "milestones", "sla", "beta_mode", "nesterov", "taps")} == {
        "epochs": 3, "lr": 0.05, "milestones": [0.3, 0.6], "sla": True, "beta_mode": "sum", "nesterov": True,
        "taps": ["layer1", "layer2"],
    }  # fmt: skip
    assert (config["calibrate"], config["deterministic"], config["alpha"]) == (True, False, 2.0)
    copy = browser.get(f"/jobs/new?from={job['id']}").text
    for name, value in (("config-epochs", "3"), ("config-milestones", "0.3, 0.6"), ("seed", "7"), ("name", "mine")):
        assert re.search(f'id="{name}" name="[^"]+" value="{re.escape(value)}"', copy)
    assert re.search(r'name="config/sla" value="true" checked', copy)
    assert not re.search(r'name="config/deterministic" value="true" checked', copy)


def test_errors_stand_beside_their_fields_and_what_was_typed_stays(browser: Browser, digits: str):
    wrong = {
        "config/epochs": "many",
        "config/alpha": "-1",
        "config/milestones": "0.5, 2",
        "datasets/train": "",
        "name": "A b",
    }
    answer = browser.submit("/jobs/new?method=frskd", wrong)
    assert answer.status_code == 422
    assert 'value="many"' in answer.text
    for name in ("config-epochs", "config-alpha", "config-milestones", "name"):
        assert re.search(f'<p class="error" id="{name}-error">[^<]+</p>', answer.text), name
        assert re.search(f'id="{name}"[^>]+aria-invalid="true"', answer.text), name
        assert f'<a href="#{name}">' in answer.text
    assert "Nothing was sent" in answer.text
    answer = browser.submit("/jobs/new?method=frskd", {"config/epochs": "2"})
    assert re.search('<p class="error" id="datasets-train-error">frskd needs the name of a data set', answer.text)


def test_a_check_queues_nothing_and_a_form_sent_twice_makes_one_job(browser: Browser, engine: Engine, digits: str):
    fields = {"datasets/train": "digits@1"}
    answer = browser.submit("/jobs/new?method=frskd", {**fields, "check": "yes"})
    assert "nothing was queued" in answer.text
    once = re.findall(r'name="once" value="([0-9a-f]{32})"', answer.text)[0]
    places = {browser.submit("/jobs/new?method=frskd", {**fields, "once": once}).headers["location"] for _ in range(2)}
    assert len(places) == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 1


def test_a_job_is_steered_by_its_buttons(browser: Browser, client: TestClient, job_id: str):
    def state(job: str = job_id) -> str:
        return client.get(f"/v1/jobs/{job}").json()["status"]

    for action, after, then in (
        ("pause", "paused", "resume"), ("resume", "queued", "pause"), ("cancel", "cancelled", "retry"),
    ):  # fmt: skip
        assert browser.submit(f"/jobs/{job_id}/{action}").headers["location"] == f"/jobs/{job_id}"
        assert state() == after
        assert f'action="/jobs/{job_id}/{then}"' in browser.get(f"/jobs/{job_id}").text
    for action in ("retry", "clone"):
        new = browser.submit(f"/jobs/{job_id}/{action}").headers["location"].removeprefix("/jobs/")
        assert (new != job_id, state(new)) == (True, "queued")
    assert browser.submit(f"/jobs/{job_id}/delete").headers["location"] == "/jobs"
    assert browser.get(f"/jobs/{job_id}").status_code == 404


def test_a_job_shows_those_it_needs_and_they_lead_back(browser: Browser, client: TestClient, digits: str):
    request = {"method": "afd", "datasets": {"train": "digits"}, "teacher": {"train": {}}}
    job = client.post("/v1/jobs", json=request).json()
    page = browser.get(f"/jobs/{job['id']}").text
    assert f'<a href="/jobs/{job["teacher_job"]}">digits-afd-teacher</a></td><td>models/teacher</td>' in page
    assert (
        f'<a href="/jobs/{job["id"]}">that one</a> waits for its model'
        in browser.get(f"/jobs/{job['teacher_job']}").text
    )
    compared = client.post("/v1/jobs", json={**request, "compare": {"seeds": [0, 1]}}).json()
    for address in (f"/jobs/{compared['id']}", f"/jobs/new?from={compared['id']}", "/jobs/new?method=compare"):
        assert browser.get(address).status_code == 200, address


def test_a_failed_job_says_why_and_shows_its_log_by_pages(
    browser: Browser, engine: Engine, job_id: str, monkeypatch: pytest.MonkeyPatch
):
    with transaction(engine) as session:
        job = queue.claim(session, UUID(job_id), uuid4(), 30.0)
        assert job is not None
        record_metrics(session, job, [MetricPoint("lr", 1, 0.1), MetricPoint("resources/cpu", 1, 2.0)])
        record_metrics(session, job, [MetricPoint("train/loss", step, 1 / step) for step in range(1, 2001)])
        events.append(
            session, job, [("log", {"level": "info", "message": f"line {n}", "fields": {}}) for n in range(500)]
        )
        error = {"error": "RuntimeError", "message": "the cat ran away", "traceback": "Traceback: here"}
        queue.fail(session, job.id, job.epoch, ExitReason.ERROR, error, exit_code=1, retryable=False, backoff_s=0)
    page = browser.get(f"/jobs/{job_id}").text
    assert page.count("the cat ran away") >= 2
    assert "Traceback: here" in page
    assert ("line 499" in page, "line 5<" in page) == (True, False)
    (older,) = re.findall(r'<a href="(/jobs/\S+/log\?before=\d+)">Older', page)
    assert "line 250" in browser.get(older).text
    curves = browser.get(f"/jobs/{job_id}/curves").json()
    assert ([one["name"] for one in curves["items"]], curves["more"]) == (["lr", "resources/cpu", "train/loss"], False)
    steps = curves["items"][2]["steps"]
    assert (len(steps), steps[-1]) == (400, 2000)
    monkeypatch.setattr(job_routes, "_MOST_CURVES", 1)
    curves = browser.get(f"/jobs/{job_id}/curves").json()
    assert ([one["name"] for one in curves["items"]], curves["more"]) == (["lr", "resources/cpu"], True)
    stream = browser.get(f"/jobs/{job_id}/stream?after=500").text
    with engine.connect() as connection:
        last = connection.scalar(select(func.max(JobEvent.seq)))
    assert f"id: {last}\nevent: status" in stream
    assert stream.endswith("event: end\ndata: {}\n\n")
    assert browser.get(f"/jobs/{job_id}/stream?after={last}").status_code == 204


def test_health_says_what_is_away(browser: Browser):
    text = browser.get("/overview/health").text
    assert "Postgres" in text
    assert text.count("not well") == 3  # no worker, and neither of the inference services runs here
