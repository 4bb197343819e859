import pytest

from libs.web.etags import ANY, etag, expected_revision
from libs.web.problems import UnprocessableError


def test_an_etag_comes_back_as_its_revision() -> None:
    assert expected_revision(etag(12)) == 12


def test_star_and_nothing() -> None:
    assert expected_revision("*") == ANY
    assert expected_revision(None) is None


@pytest.mark.parametrize("text", ["3", '"0"', '"-1"', 'W/"3"', '"1", "2"', '"x"', ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UnprocessableError):
        expected_revision(text)
