import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.registry.errors import BadReference
from libs.registry.references import Reference, check_alias, check_name, parse_reference

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True)


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
