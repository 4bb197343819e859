"""The OpenAPI document shows an example of every request and answer, and every error an operation may answer with."""

from typing import Any

import pytest
from pydantic import BaseModel

from libs.jobs.spec import parse_spec
from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS
from services.gateway.app import create_app
from services.gateway.examples import EXAMPLES
from services.gateway.inference.recommendation_examples import ANSWERS, REQUESTS
from services.gateway.openapi import operations_of
from services.recommender.app import make_app as make_recommender_app
from services.recommender.explanations.schemas import Explanation
from services.recommender.feedback.schemas import FeedbackSummary
from services.recommender.recommendations.schemas import (
    BatchAnswers,
    BatchRequest,
    Recommendation,
    RecommendationRequest,
    ScoreRequest,
    Scores,
    Similar,
    SimilarRequest,
)

DOCUMENT = create_app().openapi()
OPERATIONS = dict(operations_of(DOCUMENT))
PROBLEM = "application/problem+json"


def shown(content: dict[str, Any]) -> bool:
    """Whether a body has an example of its own or its schema has one."""
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    options = [content, DOCUMENT["components"]["schemas"].get(name, {})]
    for option in content.get("schema", {}).get("anyOf", ()):
        options.append(DOCUMENT["components"]["schemas"].get(option.get("$ref", "").rpartition("/")[2], {}))
    return any(one.get("example") is not None or one.get("examples") for one in options)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_shows_its_bodies_and_its_errors(name: str):
    operation = OPERATIONS[name]
    answers, body = operation["responses"], operation.get("requestBody", {}).get("content", {})
    assert any(status.startswith("2") for status in answers)
    for status, answer in answers.items():
        if status.startswith("2") and "application/json" in answer.get("content", {}):
            assert shown(answer["content"]["application/json"]), f"{status} has no example"
        if status >= "400" and status != "503":
            assert PROBLEM in answer["content"], f"{status} is no problem document"
    if "application/json" in body:
        assert shown(body["application/json"]), "the request has no example"
        assert "415" in answers
    expected = {"422", "500"} | ({"413"} if body else set())
    expected |= {"401", "403", "503"} if "security" in operation else set()
    assert expected <= answers.keys()


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_an_example_is_what_its_schema_says(model: type[BaseModel]):
    assert model.model_validate(EXAMPLES[model]).model_dump(exclude_unset=True).keys() == model.model_fields.keys()


def test_every_method_and_task_that_can_be_submitted_is_a_kind_of_job_with_an_example_that_parses():
    content = DOCUMENT["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    kinds = {kind["properties"]["method"]["const"] for kind in content["schema"]["oneOf"]}
    assert kinds == (METHODS.keys() | TASKS.keys()) - {"validate-dataset"}
    assert content["examples"].keys() >= kinds
    for name, example in content["examples"].items():
        method = parse_spec(example["value"]).method
        assert method == name or name not in kinds


def test_what_is_passed_on_to_the_recommender_takes_the_parameters_that_it_takes() -> None:
    theirs = make_recommender_app().openapi()["paths"]
    for address in theirs.keys() - {"/livez", "/readyz", "/metrics"}:
        for verb, operation in theirs[address].items():
            ours = DOCUMENT["paths"][address][verb]
            wanted, found = (
                {(one["name"], one["in"]) for one in each.get("parameters", [])} for each in (operation, ours)
            )
            assert found == wanted, f"{verb} {address}"
            assert ours["responses"].keys() >= operation["responses"].keys(), f"{verb} {address}"


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        ("recommend", Recommendation),
        ("recommend_batch", BatchAnswers),
        ("similar", Similar),
        ("score", Scores),
        ("explain_request", Explanation),
        ("feedback_summary", FeedbackSummary),
    ],
)
def test_an_example_of_the_recommender_is_an_answer_of_it(route: str, answer: type[BaseModel]) -> None:
    answer.model_validate(ANSWERS[route])


def test_an_example_for_the_recommender_is_a_request_to_it() -> None:
    for route, request in (("recommend", RecommendationRequest), ("similar", SimilarRequest), ("score", ScoreRequest)):
        request.model_validate(REQUESTS[route])
    assert all(isinstance(one, RecommendationRequest) for one in BatchRequest(**REQUESTS["recommend_batch"]).requests)
