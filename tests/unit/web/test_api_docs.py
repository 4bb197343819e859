"""`/docs` of both services: complete without the internet, and allowed by a strict content security policy."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from services.gateway.app import create_app
from services.model_server.app import make_app

BASE = "http://testserver"
_NEVER_FETCHED = ("http://www.w3.org/", "data:")


class Page(HTMLParser):
    """What a page loads, and the scripts and styles written into it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [value for name in ("src", "href") if (value := given.get(name))]
        written_in = tag == "style" or (tag == "script" and "src" not in given)
        self.inline += [tag] if written_in else []
        self.inline += [name for name in given if name.startswith("on") or name == "style"]


@pytest.fixture(params=[create_app, make_app], ids=["gateway", "model server"])
def client(request: pytest.FixtureRequest) -> TestClient:
    app: FastAPI = request.param()
    return TestClient(app, base_url=BASE)


def test_everything_the_page_loads_comes_from_this_process(client: TestClient) -> None:
    answer = client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = [urljoin(f"{BASE}/docs", address) for address in Page(answer.text).loaded]
    answers = [client.get(address) for address in loaded]
    kinds = {urlsplit(str(found.url)).path.rpartition(".")[2]: found.headers["content-type"] for found in answers}
    assert {urlsplit(address).netloc for address in loaded} == {"testserver"}
    assert [found.status_code for found in answers] == [200] * 5
    assert kinds.keys() == {"png", "css", "js", "json"}
    assert kinds["css"].startswith("text/css")
    assert kinds["js"].startswith("text/javascript")


def test_nothing_is_written_into_the_page_that_a_strict_policy_blocks(client: TestClient) -> None:
    assert Page(client.get("/docs").text).inline == []


def test_style_and_start_script_name_no_outside_address(client: TestClient) -> None:
    style, start = (client.get(f"/docs/static/{name}").text for name in ("swagger-ui.css", "start.js"))
    addresses = re.findall(r"url\(\s*['\"]?([^)'\"]+)", style) + re.findall(r"@import\s+['\"]([^'\"]+)", style)
    assert [address for address in addresses if not address.startswith(_NEVER_FETCHED)] == []
    assert "http" not in start
    assert '"//' not in start


def test_the_start_script_names_the_document_and_the_place_in_the_page(client: TestClient) -> None:
    start, page = client.get("/docs/static/start.js").text, client.get("/docs").text
    (address,) = re.findall(r'url: "([^"]+)"', start)
    (place,) = re.findall(r'dom_id: "#([^"]+)"', start)
    assert client.get(urljoin(f"{BASE}/docs", address)).json()["openapi"].startswith("3.")
    assert f'id="{place}"' in page


def test_a_file_that_is_not_there_is_a_problem_like_any_other(client: TestClient) -> None:
    for name in ("nothing.js", "../api_docs.py", "%2e%2e/api_docs.py"):
        answer = client.get(f"/docs/static/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_root_of_a_service_without_pages_leads_to_the_documentation() -> None:
    answer = TestClient(make_app(), base_url=BASE).get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
