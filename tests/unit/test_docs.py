"""What the pages say of the repository is there: links, files, modules, and the requests they show."""

import json
import re
from pathlib import Path

import pytest

from libs.jobs.spec import parse_spec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@of_each_page
def test_links_lead_somewhere(page: Path):
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if not target.startswith(("https:", "http:")):
            linked = (page.parent / target).resolve() if target else page
            assert linked.exists(), target
            assert not heading or heading in headings(linked), f"{target}#{heading}"


@of_each_page
def test_files_and_modules_are_there(page: Path):
    named = re.findall(
        r"`((?:libs|services|tests|benchmarks|docker|examples)/[\w./-]*|(?:libs|services)\.[a-z_.]+)`", page.read_text()
    )
    assert [name for name in named if not is_there(name)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs/methods").glob("*.md")), ids=lambda page: page.stem)
def test_requests_are_jobs_that_parse(page: Path):
    text = page.read_text()
    bodies = [json.JSONDecoder().raw_decode(text, match.start())[0] for match in re.finditer(r'\{"method": "', text)]
    assert bodies
    for body in bodies:
        parse_spec(body)


def headings(page: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def is_there(name: str) -> bool:
    """A path, or a module and maybe a name in it."""
    if "/" in name:
        return (ROOT / name).exists()
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return (
        module.is_file() and re.search(rf"^(?:def |class )?{path.name}\b", module.read_text(), re.MULTILINE) is not None
    )
