"""What an inference service answered, in whatever form it comes."""

from unittest.mock import Mock

import httpx2
import pytest

from services.gateway.inference.proxy import Upstream, read_answer


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (httpx2.Response(200, json={"items": []}), ({"items": []}, "")),
        (httpx2.Response(404, json={"detail": "No such model."}), (None, "No such model.")),
        (httpx2.Response(500, json={}), (None, "The recommender answered 500.")),
        (
            httpx2.Response(502, text="<html>"),
            (None, "The recommender answered 502 with something that is no JSON object."),
        ),
        (
            httpx2.Response(200, content=b"\xff"),
            (None, "The recommender answered 200 with something that is no JSON object."),
        ),
    ],
)
def test_an_answer_is_read_or_told_in_words(answer: httpx2.Response, read: tuple[object, str]):
    assert read_answer(Upstream("recommender", Mock()), answer) == read
