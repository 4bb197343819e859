"""A browser without a screen, and words that would do harm if a page ran them."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx2
from starlette.testclient import TestClient

HOSTILE = "<script>alert(1)</script>"


class _Sent(HTMLParser):
    """The fields of a form, as a browser would send them."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._name = self._text = ""
        self._option: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[given.get("name") or ""] = given.get("value") or ""
        elif tag in ("select", "textarea"):
            self._name, self._text = given.get("name") or "", ""
        elif tag == "option":
            self._option, self._text = given, ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.fields[self._name] = self._text
        elif tag == "option" and ("selected" in self._option or self._name not in self.fields):
            value = self._option.get("value")
            self.fields[self._name] = self._text if value is None else value


def fields_sent(page: str, action: str) -> dict[str, str]:
    """What a browser sends of the form with this target when nothing was typed into it."""
    (form,) = re.findall(rf'<form method="post" action="{re.escape(action)}".*?</form>', page, re.DOTALL)
    sent = _Sent()
    sent.feed(form)
    return sent.fields


class Browser(TestClient):
    """A browser: it keeps cookies, says that it wants pages, and follows redirects only when told."""

    def submit(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """Send a form as a page of this session would."""
        page = self.get("/jobs/new").text
        token = re.findall(r'name="csrf-token" content="([0-9a-f]{64})"', page)[0]
        return self.post(path, data={"csrf_token": token, **(fields or {})}, headers=headers)
