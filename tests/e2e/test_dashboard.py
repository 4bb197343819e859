"""The dashboard in a real browser, before the real services; trainings are scripted, so that each step is awaited."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.deployments import create_deployment
from libs.registry.models import register_version
from services.local.process import free_port
from tests.support.browser import Scheme, Tab, chromium
from tests.support.bundles import PASSED, make_bundle
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.platform import Platform, add_digits, platform
from tests.support.postgres import cloned_database, open_folder
from tests.support.recommenders import make_recommender
from tests.support.serving import add_key, picture
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
expect.set_options(timeout=60_000)
WIDE, PHONE = 1280, 390


@dataclass(frozen=True)
class Running:
    """The services, a browser, and a key."""

    octavo: Platform
    browser: Browser
    url: str
    key: str

    @contextmanager
    def tab(self, width: int = WIDE, scheme: Scheme = "light") -> Iterator[Tab]:
        tab = Tab(self.browser, self.url, self.key, width, scheme)
        yield tab
        tab.close()


@pytest.fixture(scope="module")
def running(postgres_server_url: str, shared_valkey_url: str) -> Iterator[Running]:
    """Gateway, relay, worker, model server and recommender, with two models of pictures and one of items served."""
    with (
        chromium() as browser,
        open_folder("octavo-dashboard-") as folder,
        cloned_database(postgres_server_url) as url,
        disposed(make_engine(url)) as engine,
        platform(engine, url, shared_valkey_url, folder / "home") as octavo,
    ):
        _fill(octavo, folder)
        yield Running(octavo, browser, _start(octavo), add_key(engine, ["admin"]))


@contextmanager
def disposed(engine: Engine) -> Iterator[Engine]:
    yield engine
    engine.dispose()


def _fill(octavo: Platform, folder: Path) -> None:
    bundles = [
        ("shades", make_bundle(folder / "one", labels=("dark", "bright")), folder / "one"),
        ("shades", make_bundle(folder / "two", labels=("dark", "bright"), temperature=4.0), folder / "two"),
        ("darks", make_bundle(folder / "three", labels=("dark", "bright")), folder / "three"),
        *(
            ("films", make_recommender(place, items=30, seed=seed).model_copy(update={"parity": PASSED}), place)
            for seed, place in enumerate((folder / "films", folder / "films-new"))
        ),
    ]
    add_digits(octavo)
    with transaction(octavo.engine) as session:
        add_dataset(session, "watched", manifest=EVENTS_MANIFEST)
        for name, bundle, place in bundles:
            stored = octavo.store.put_folder(place)
            register_version(session, project_id=DEFAULT_PROJECT_ID, model_name=name, bundle=bundle, folder=stored)
        for name, model in (
            ("shades", "shades@1"),
            ("shades-soft", "shades@2"),
            ("films", "films@1"),
            ("films-new", "films@2"),
            ("films-shared", "films@1"),
        ):
            create_deployment(session, DEFAULT_PROJECT_ID, name, model)


def _start(octavo: Platform) -> str:
    gateway, model_server, recommender = (free_port() for _ in range(3))
    octavo.start_relay()
    octavo.start_scripted_worker(OCTAVO_WORKER_USAGE_EVERY_S="0.2")
    octavo.start("model_server", "services.model_server", OCTAVO_MODEL_SERVER_PORT=str(model_server))
    octavo.start("recommender", "services.recommender", OCTAVO_RECOMMENDER_PORT=str(recommender))
    octavo.start(
        "gateway",
        "services.gateway",
        OCTAVO_GATEWAY_PORT=str(gateway),
        OCTAVO_GATEWAY_MODEL_SERVER_URL=f"http://127.0.0.1:{model_server}",
        OCTAVO_GATEWAY_RECOMMENDER_URL=f"http://127.0.0.1:{recommender}",
    )
    for port in (gateway, model_server, recommender):
        until(lambda port=port: _ready(port), f"port {port} to be ready")
    return f"http://127.0.0.1:{gateway}"


def _ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_job_is_submitted_by_its_form_and_its_curve_moves(running: Running) -> None:
    running.octavo.allow(2)
    with running.tab() as tab:
        page = tab.page
        page.get_by_role("link", name="New job").click()
        page.get_by_role("link", name="Supervised").click()
        page.get_by_label("max steps").fill("lots")
        page.get_by_role("button", name="Submit the job").click()
        expect(page.get_by_label("max steps")).to_have_value("lots")
        expect(page.locator("#config-max_steps-error")).to_contain_text("valid integer")
        tab.complaints.clear()  # of the browser, about the 422
        page.get_by_label("max steps").fill("4")
        page.get_by_role("group", name="The job itself").locator("summary").click()
        page.locator("#name").fill("by-form")
        page.get_by_role("button", name="Submit the job").click()
        expect(page.get_by_role("heading", name="by-form")).to_be_visible()
        curve = page.get_by_role("img", name="Curve of loss")
        expect(curve).to_have_attribute("aria-label", "Curve of loss over steps. Last: train 0.5.")
        expect(page.locator("#progress-words")).to_contain_text("50% step 2")
        running.octavo.allow(4)
        expect(curve).to_have_attribute("aria-label", "Curve of loss over steps. Last: train 0.25.")
        expect(page.locator("h1 .status")).to_have_text("succeeded")
        expect(page.locator("#events")).to_contain_text("running → succeeded")
        expect(page.get_by_role("link", name="by-form@1")).to_be_visible()
        expect(page.get_by_role("img", name="Curve of Memory in MB over seconds")).to_be_visible()
        assert tab.faults() == []
        page.get_by_role("link", name="Schedule it").click()
        page.locator("#schedule-name").fill("again")
        page.locator("#schedule-every_s").fill("86400")
        page.get_by_role("button", name="Begin the schedule").click()
        expect(page.locator("h1 .status")).to_have_text("active")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("h1 .status")).to_have_text("paused")
        page.get_by_role("link", name="Edit", exact=True).click()
        page.locator("#schedule-every_s").fill("often")
        page.keyboard.press("Enter")
        expect(page.locator("#schedule-every_s-error")).to_contain_text("valid integer")
        assert tab.faults() == []
        tab.complaints.clear()  # of the browser, about the 422
        page.locator("#schedule-every_s").fill("172800")
        page.keyboard.press("Enter")
        expect(page.get_by_text("every 2 d")).to_be_visible()
        expect(page.locator("h1 .status")).to_have_text("paused")
        assert tab.faults() == []


def submit_training(page: Page) -> None:
    """By the form; its page follows."""
    page.goto("/jobs/new?method=supervised")
    page.get_by_label("max steps").fill("9")
    page.get_by_role("button", name="Submit the job").click()


def test_a_job_is_cancelled_from_the_list(running: Running) -> None:
    running.octavo.allow(1)
    with running.tab() as tab:
        page = tab.page
        submit_training(page)
        expect(page.locator("h1 .status")).to_have_text("running")
        page.get_by_role("link", name="Jobs", exact=True).first.click()
        page.get_by_role("row", name="running").get_by_role("link").click()
        page.get_by_role("button", name="Cancel job").click()
        expect(page.locator("h1 .status")).to_have_text("cancelled")
        expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_that_an_ended_job_reported_nothing_is_said(running: Running) -> None:
    running.octavo.allow(0)
    with running.tab() as tab:
        page = tab.page
        submit_training(page)
        expect(page.locator("#curves")).to_have_text("No figures yet; they are drawn as the job reports them.")
        page.get_by_role("button", name="Cancel job").click()
        expect(page.locator("h1 .status")).to_have_text("cancelled")
        expect(page.locator("#curves")).to_have_text("It reported no figures on its way.")
        page.reload()
        expect(page.locator("#curves")).to_have_text("It reported no figures on its way.")


def test_curves_and_events_come_though_they_could_not_be_had_at_first(running: Running) -> None:
    running.octavo.allow(1)
    with running.tab() as tab:
        page = tab.page
        page.goto("/jobs/new?method=supervised")
        page.get_by_label("max steps").fill("3")
        page.route("**/curves", lambda route: route.abort(), times=1)
        page.route("**/stream?*", lambda route: route.fulfill(status=503, body="away"), times=1)
        page.get_by_role("button", name="Submit the job").click()
        curve = page.get_by_role("img", name="Curve of loss")
        expect(curve).to_have_attribute("aria-label", "Curve of loss over steps. Last: train 1.")
        running.octavo.allow(3)
        expect(page.locator("h1 .status")).to_have_text("succeeded")
        expect(curve).to_have_attribute("aria-label", "Curve of loss over steps. Last: train 0.33333.")
        expect(page.get_by_text("running → succeeded")).to_have_count(1)
        page.route("**/curves", lambda route: route.fulfill(status=503, body="away"), times=1)
        page.reload()  # the job has ended: nothing but the page itself asks again
        expect(curve).to_have_attribute("aria-label", "Curve of loss over steps. Last: train 0.33333.")
        expect(page.locator("#offline")).to_be_hidden()
        kinds = {
            re.sub(r"^.*?: (Failed to load resource|EventSource's response).*", r"\1", one) for one in tab.complaints
        }
        assert kinds <= {"Failed to load resource", "EventSource's response"}  # the browser's own words for it
        tab.complaints.clear()


def test_a_model_is_promoted_and_rolled_back(running: Running) -> None:
    with running.tab() as tab:
        page = tab.page
        page.goto("/models/shades")
        promote = page.get_by_role("button", name="Promote")
        promote.first.click()
        expect(page.get_by_text("in production")).to_be_visible()
        expect(promote).to_have_count(1)
        page.get_by_role("button", name="Roll back to 1").click()
        expect(page.get_by_text("no ready version before it")).to_be_visible()
        page.get_by_role("button", name="Compare the two chosen").click()
        expect(page.get_by_role("heading", name="shades@2 and shades@1")).to_be_visible()


def test_a_picture_is_dropped_and_two_versions_answer_side_by_side(running: Running) -> None:
    with running.tab() as tab:
        page = tab.page
        page.goto("/try?deployment=shades&other=shades-soft")
        dropped = page.evaluate_handle(
            """(bytes) => {
                const given = new DataTransfer();
                given.items.add(new File([new Uint8Array(bytes)], "bright.png", {type: "image/png"}));
                return given;
            }""",
            list(picture(250)),
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
        for name, least in (("shades", 90.0), ("shades-soft", 60.0)):
            answer = page.locator(f'[data-deployment="{name}"]')
            expect(answer.locator(".latency")).to_contain_text("ms there and back; queue")
            first = answer.locator("tbody tr").first
            expect(first).to_contain_text("bright")
            assert float(first.inner_text().split()[-2]) > least
        assert tab.faults() == []
        page.set_input_files("#picture", {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"})
        expect(page.locator(".answer .error")).to_have_text([re.compile("cannot be used")] * 2)
        tab.complaints.clear()  # of the browser, about the 422
        page.goto("/deployments/shades")
        expect(page.get_by_role("heading", name="Batch sizes")).to_be_visible()
        expect(page.locator(".tiles")).to_contain_text("2 requests since")


def test_a_version_that_is_not_served_is_served_and_then_answers(running: Running) -> None:
    with running.tab() as tab:
        page = tab.page
        page.goto("/try?deployment=shades&other=darks@1")
        page.get_by_role("button", name="Serve darks@1").click()
        expect(page.locator('.answer[data-deployment="darks-v1"]')).to_be_visible()  # it was loaded, and the page again
        page.set_input_files("#picture", {"name": "p.png", "mimeType": "image/png", "buffer": picture(250)})
        expect(page.locator(".answer .latency")).to_have_count(2)
        assert tab.faults() == []


def test_requests_are_shared_with_another_recommender(running: Running) -> None:
    with running.tab() as tab:
        page = tab.page
        page.goto("/deployments/films-shared")  # no other test asks it: some of its answers are another's now
        page.get_by_label("Share of films-new in percent").fill("25")
        page.get_by_role("button", name="Share them so").click()
        expect(page.get_by_role("row", name="films-shared films")).to_contain_text("75 %")
        assert tab.faults() == []
        page.get_by_role("link", name="Feedback").last.click()
        expect(page.get_by_role("heading", name="By version")).to_be_visible()
        assert tab.faults() == []


def test_a_choice_of_a_form_shows_what_belongs_to_it(running: Running) -> None:
    with running.tab() as tab:
        page = tab.page
        page.goto("/new-schedule?method=update")
        name = page.locator("#schedule-dataset_1-name")
        expect(name).to_be_hidden()
        page.get_by_label("Make a version of a data set", exact=True).select_option("1")
        expect(name).to_be_visible()
        assert tab.faults() == []


def test_a_recommendation_session_goes_on_click_by_click(running: Running) -> None:
    with running.tab(PHONE, "dark") as tab:
        page = tab.page
        page.goto("/try?deployment=films")
        expect(page.get_by_role("heading", name="Popular items")).to_be_visible()
        for count in (1, 2, 3):
            page.get_by_role("button", name="Pick", exact=False).first.click()
            expect(page.locator(".picks li")).to_have_count(count)
            expect(page.locator('[data-tensor="attention"] rect')).to_have_count(count)
        expect(page.get_by_text("because of").first).to_be_visible()
        page.get_by_label("An item by its id").fill("i9")
        page.keyboard.press("Enter")
        expect(page.locator(".picks li")).to_have_count(4)
        page.get_by_role("button", name="Take i9 out").click()
        expect(page.locator(".picks li")).to_have_count(3)
        assert tab.faults() == []
        page.get_by_label("Beside it").select_option("films-new")
        page.get_by_role("button", name="Choose").click()
        expect(page.locator(".picks li")).to_have_count(3)
        expect(page.locator(".answer .latency")).to_have_text([re.compile("ms there and back; compute")] * 2)
        page.locator('[data-deployment="films-new"]').get_by_role("button", name="Pick", exact=False).first.click()
        expect(page.locator(".picks li")).to_have_count(4)
        shown = [set(part.locator(".line strong").all_inner_texts()) for part in page.locator(".answer").all()]
        marked = [
            set(part.locator(".line:has(.only) strong").all_inner_texts()) for part in page.locator(".answer").all()
        ]
        assert marked == [shown[0] - shown[1], shown[1] - shown[0]]
        assert [len(part) for part in shown] == [12, 12]
        assert marked[0]
        assert tab.faults() == []
        assert tab.overflow() <= 0
        page.get_by_role("button", name="Begin again").click()
        expect(page.get_by_role("heading", name="Popular items")).to_be_visible()


def test_every_page_is_without_serious_faults(running: Running) -> None:
    faults: list[str] = []
    with running.tab() as tab:
        for path in (
            "/", "/jobs", "/jobs?state=failed", "/jobs/new", "/jobs/new?method=rksa", "/datasets", "/new-dataset",
            "/datasets/watched", "/models", "/models/shades", "/models/shades/versions/2",
            "/models/compare?version=shades@1&version=shades@2", "/deployments", "/deployments/films", "/try",
            "/workers", "/keys", "/schedules", "/new-schedule", "/feedback", "/new-schedule?method=frskd",
        ):  # fmt: skip
            tab.look(WIDE, "light")
            tab.page.goto(path)
            expect(tab.page.get_by_text("Asking")).to_have_count(0)
            faults += tab.faults()
            assert tab.overflow() <= 0, path
            tab.look(PHONE, "dark")
            faults += tab.faults("color-contrast", "target-size")
            assert tab.overflow() <= 0, path
        tab.page.keyboard.press("Tab")
        expect(tab.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        tab.page.get_by_role("button", name="Log out").click()
        tab.page.wait_for_url("**/login")
        faults += tab.faults()
    assert faults == []
