"""What README and docs name is there: links, files, modules, commands, requests; what is said twice is said alike."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from docs import write_settings
from libs.client.cli import local
from libs.client.cli.app import app
from libs.jobs.spec import parse_spec
from services.local.commands import app as local_stack

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def headings(page: Path) -> dict[str, str]:
    """Anchor, as GitHub makes it, → what stands below that heading."""
    parts = re.split(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-"): below
        for title, below in zip(parts[1::2], parts[2::2], strict=True)
    }


@EACH_PAGE
def test_links_lead_somewhere(page: Path):
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@EACH_PAGE
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


def test_the_list_of_pages_has_every_page():
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    assert {page for page in PAGES if page.name != "README.md"} <= listed


def commands(page: Path) -> list[list[str]]:
    """The words of each `octavo …` line in a block; `pause|resume` is one after the other."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [part for line in lines if line.startswith("octavo ") and "= " not in line for part in line.split(" ; ")]
    words = [shlex.split(re.sub(r"(\s#.*|\s>\s.*)$", "", part))[1:] for part in found]
    return [one for given in words for one in _alternatives(given)]


def _alternatives(given: list[str]) -> list[list[str]]:
    place = next((place for place, word in enumerate(given[:2]) if "|" in word), None)
    if place is None:
        return [given]
    return [[*given[:place], one, *given[place + 1 :]] for one in given[place].split("|")]


@EACH_PAGE
def test_commands_are_such(page: Path):
    for words in commands(page):
        tree, rest = local_stack if words[0] in local.HELP else app, list(words)
        command = typer.main.get_command(tree)
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        context = command.context_class(command)
        given, left, _ = command.make_parser(context).parse_args(rest)
        lacking = [
            one.name for one in command.get_params(context) if one.required and given.get(one.name) in (None, ())
        ]
        assert (left, lacking) == ([], []), words


def test_the_page_of_settings_is_as_they_are():
    assert (DOCS / "settings.md").read_text() == write_settings.page(), "run python -m docs.write_settings"
    assert "||" not in write_settings.page().replace(" ", ""), "a setting has no description"


def test_the_table_of_figures_says_what_their_sections_say():
    table = headings(DOCS / "benchmarks.md")["at-a-glance"]
    rows = re.findall(r"^\| .*? \| .*? \| (.*?) \| .*? \| \[.*?\]\((.*?)\) \|$", table, re.MULTILINE)
    assert len(rows) > 30
    for measured, link in rows:
        file, _, anchor = link.partition("#")
        section = headings(DOCS / (file or "benchmarks.md"))[anchor]
        for number in re.findall(r"\d[\d.,]*\d|\d", measured):
            assert number in section, (number, measured, link)
