"""The pictures of the docs, taken anew: `python -m docs.pictures.take`.

Wants Chromium and the local stack, with the models of `digits` that these commands make:

    octavo datasets pull digits
    octavo jobs submit supervised --dataset digits --set model=resnet8 --set epochs=20 --set lr=0.1 --follow
    octavo jobs submit frskd --dataset digits --set model=resnet8 --set epochs=20 --set lr=0.1 --follow
    octavo deploy digits-supervised
    octavo deploy digits-frskd
"""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from libs.client.client import Octavo
from libs.client.discovery import find_target
from services.local.demo import digits, png
from tests.support.browser import Tab, chromium

FOLDER = Path(__file__).parent
UNCLEAR = 325
"""A nine that is in doubt, so that two models differ."""


def main() -> None:
    """Job page, report and "Try it", each as a file of some 50 KB."""
    target = find_target()
    with Octavo() as octavo, chromium() as browser:
        job = next(job for job in octavo.jobs.list() if job.method == "frskd" and job.status == "succeeded")
        page = Tab(browser, target.url, target.api_key).page
        page.goto(f"/jobs/{job.id}")
        page.locator("canvas").first.wait_for()
        keep(page, "job", 980)
        page.goto("/try?deployment=digits-frskd&other=digits-supervised")
        pictures, _ = digits()
        picture = {"name": "nine.png", "mimeType": "image/png", "buffer": png(pictures[UNCLEAR])}
        page.locator("input[type=file]").set_input_files(picture)
        page.get_by_text("there and back").nth(1).wait_for()
        keep(page, "try", 920)
        page.goto(f"/jobs/{job.id}/report")
        keep(page, "report", 980)


def keep(page: Page, name: str, height: int) -> None:
    """A picture of the page's top, in 128 colours."""
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_timeout(1000)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    taken.quantize(128, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
