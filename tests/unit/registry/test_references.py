from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st

from libs.registry.errors import BadReference
from libs.registry.references import RESERVED_NAMES, Reference, check_alias, check_name, parse_reference
from services.gateway.app import create_app
from services.model_server.app import make_app

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in RESERVED_NAMES
)


@given(NAMES, st.integers(1, 999_999_999))
def test_a_number_is_a_version(name: str, version: int) -> None:
    assert parse_reference(f"{name}@{version}") == Reference(name, version=version)


@given(NAMES)
def test_no_suffix_and_latest_mean_the_newest(name: str) -> None:
    assert parse_reference(name) == parse_reference(f"{name}@latest") == Reference(name)


def test_other_suffixes_are_aliases() -> None:
    assert parse_reference("cats@production") == Reference("cats", alias="production")


@pytest.mark.parametrize(
    "text", ["", "@", "cats@", "Cats", "-cats", "cats/../x", "cats@0", "cats@1234567890", "cats@Prod", "a" * 65, "c\n"]
)
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(BadReference):
        parse_reference(text)


@pytest.mark.parametrize("alias", ["7", "latest", "", "a b", "x" * 65])
def test_aliases_that_would_be_read_otherwise_are_refused(alias: str) -> None:
    with pytest.raises(BadReference, match="not an alias"):
        check_alias(alias)


@given(st.text(max_size=80))
def test_a_name_is_safe_in_paths_and_urls(text: str) -> None:
    try:
        name = check_name(text)
    except BadReference:
        return
    assert name.isascii()
    assert not set(name) & set("/@\\ %?#")
    assert name[0] not in ".-_"


def fixed_words_beside(parameters: set[str], app: FastAPI) -> set[str]:
    """Words that stand in an address where another address has one of `parameters`."""
    paths = [tuple(context.path.strip("/").split("/")) for context in iter_route_contexts(app.routes)]
    places = {path[:at] for path in paths for at, step in enumerate(path) if step in parameters}
    words = {path[len(place)] for path in paths for place in places if path[: len(place)] == place != path}
    return {word for word in words if not word.startswith("{")}


@pytest.mark.parametrize("make", [create_app, make_app])
def test_no_name_hides_behind_an_address_of_the_api(make: Callable[[], FastAPI]) -> None:
    assert fixed_words_beside({"{name}"}, make()) <= RESERVED_NAMES
    assert fixed_words_beside({"{alias}"}, make()) == set()


def test_exactly_the_words_of_the_api_are_reserved() -> None:
    assert fixed_words_beside({"{name}"}, create_app()) == RESERVED_NAMES


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_reserved_word_names_nothing(name: str) -> None:
    with pytest.raises(BadReference, match="word of the API's own addresses"):
        check_name(name)
