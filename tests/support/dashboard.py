"""A browser without a screen, and words that would do harm if a page ran them."""

import re
from typing import Any

import httpx2
from starlette.testclient import TestClient

HOSTILE = "<script>alert(1)</script>"


class Browser(TestClient):
    """A browser: it keeps cookies, says that it wants pages, and follows redirects only when told."""

    def submit(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """Send a form as a page of this session would."""
        page = self.get("/jobs/new").text
        token = re.findall(r'name="csrf-token" content="([0-9a-f]{64})"', page)[0]
        return self.post(path, data={"csrf_token": token, **(fields or {})}, headers=headers)
