"""Debian's Chromium, and pages of it that notice what goes wrong in them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

Scheme = Literal["light", "dark"]
_ADVICE = (
    "These tests drive Chromium, and none was found: install it (Debian, Ubuntu: `apt-get install chromium`), or name "
    "one in OCTAVO_CHROMIUM."
)
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} at ${event.sourceFile}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; without one the test fails, and says how to get it."""
    wanted = os.environ.get("OCTAVO_CHROMIUM")
    found = wanted or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail(_ADVICE, pytrace=False)
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, which a CI machine is.
        browser = playwright.chromium.launch(executable_path=found, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


class Tab:
    """A page, logged in, and everything it complained about."""

    def __init__(self, browser: Browser, url: str, key: str, width: int = 1280, scheme: Scheme = "light") -> None:
        self._context = browser.new_context(
            base_url=url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
        )
        self._context.add_init_script(_TELL_VIOLATIONS)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.goto("/login")
        self.page.get_by_label("API key").fill(key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {text}")

    def look(self, width: int, scheme: Scheme) -> None:
        """See the page at another width, in another scheme."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)

    def faults(self, *rules: str) -> list[str]:
        """Serious accessibility faults of the page and what they are about; of `rules` alone where some are named."""
        options = {"runOnly": list(rules)} if rules else None
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{self.page.url}: {one['id']}: {one['help']}: {[node['html'] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def overflow(self) -> int:
        """By how many px the page is wider than its window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wider

    def close(self) -> None:
        """Close the page; nothing may have gone wrong in it."""
        self._context.close()
        assert self.complaints == []
