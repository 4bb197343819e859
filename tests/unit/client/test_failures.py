"""Errors as blocks and as JSON, with the exit code of their kind."""

import json

import pytest

from libs.client import errors
from libs.client.cli.failures import EXIT_CODES, option_of, report

PROBLEM = errors.InvalidRequestError(
    422,
    "invalid_request",
    "config.beta: too [large]",
    "req-1",
    (errors.FieldProblem("/config/beta", "too [large]"), errors.FieldProblem("/datasets/train", "unknown")),
)
ONE_CLASS = {"severity": "error", "code": "one-class", "message": "All pictures are of one class, 'a'."}
ODD_SIZES = {"severity": "warning", "code": "sizes", "message": "The sizes differ."}
NO_TEST = {"severity": "error", "code": "no-test", "message": "The test folder is empty."}


def said(error: errors.OctavoError, capsys: pytest.CaptureFixture[str]) -> list[str]:
    report(error, as_json=False)
    return capsys.readouterr().err.splitlines()


def test_a_refusal_is_one_block_with_field_and_remedy(capsys: pytest.CaptureFixture[str]):
    assert report(PROBLEM, as_json=False) == 4
    assert capsys.readouterr().err.splitlines() == [
        "error: the request is not valid:",
        "  --set beta  too [large]",
        "  --dataset  unknown",
        "  what to do: `octavo methods METHOD` lists every hyper-parameter with its range and meaning.",
    ]


def test_what_is_wrong_is_said_once(capsys: pytest.CaptureFixture[str]):
    field = errors.FieldProblem("/models/init", "There is no model 'x'.")
    error = errors.InvalidRequestError(422, "model_not_found", "models.init: There is no model 'x'.", "r", (field,))
    assert said(error, capsys)[0] == "error: --model init=…: There is no model 'x'."
    other = errors.InvalidRequestError(422, "invalid", "Two fields contradict each other.", "r", (field,))
    assert said(other, capsys) == [
        "error: Two fields contradict each other.",
        "  --model init=…  There is no model 'x'.",
    ]


def test_a_name_that_is_not_there_says_where_names_are(capsys: pytest.CaptureFixture[str]):
    field = errors.FieldProblem("/datasets/train", "There is no data set 'x'.")
    error = errors.InvalidRequestError(
        422, "invalid_reference", "datasets.train: There is no data set 'x'.", "r", (field,)
    )
    assert said(error, capsys) == [
        "error: --dataset: There is no data set 'x'.",
        "  what to do: `octavo datasets ls` lists the data sets there are.",
    ]


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]):
    assert report(PROBLEM, as_json=True) == 4
    shown = json.loads(capsys.readouterr().err)
    assert shown["code"] == "invalid_request"
    assert shown["errors"][0] == {"pointer": "/config/beta", "message": "too [large]", "location": "body"}


def test_an_invalid_data_set_says_why(capsys: pytest.CaptureFixture[str]):
    error = errors.InvalidDatasetError("cats", 2, "error", {"problems": [ONE_CLASS, ODD_SIZES]})
    assert said(error, capsys) == [
        "error: Data set cats@2 is invalid: All pictures are of one class, 'a'.",
        "  what to do: `octavo datasets show cats@2` shows everything that was found.",
    ]


def test_every_reason_why_a_data_set_is_invalid_is_listed(capsys: pytest.CaptureFixture[str]):
    error = errors.InvalidDatasetError("cats", 2, "error", {"problems": [ONE_CLASS, NO_TEST, ODD_SIZES]})
    assert said(error, capsys)[:3] == [
        "error: Data set cats@2 is invalid, for 2 reasons:",
        "  -  All pictures are of one class, 'a'.",
        "  -  The test folder is empty.",
    ]
    assert str(error) == "Data set cats@2 is invalid: All pictures are of one class, 'a'. (and 1 more)"


def test_an_invalid_data_set_carries_its_report_as_json(capsys: pytest.CaptureFixture[str]):
    found = {"problems": [ONE_CLASS, ODD_SIZES], "broken": 3}
    assert report(errors.InvalidDatasetError("cats", 2, "error", found), as_json=True) == 1
    shown = json.loads(capsys.readouterr().err)
    assert (shown["reference"], shown["problems"]) == ("cats@2", [ONE_CLASS["message"]])
    assert shown["report"] == found


def test_without_a_report_the_reason_stands_for_it(capsys: pytest.CaptureFixture[str]):
    error = errors.InvalidDatasetError("mnst", 1, "There is no public data set 'mnst'; did you mean mnist?", {})
    assert "did you mean mnist?" in said(error, capsys)[0]


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (errors.JobFailedError("3f0c1e6d-1", "failed", "no tap", user_error=True), "octavo jobs clone 3f0c1e6d --set"),
        (errors.JobFailedError("3f0c1e6d-1", "failed", "disk full"), "octavo jobs logs 3f0c1e6d` has more; `octavo"),
        (errors.JobFailedError("3f0c1e6d-1", "cancelled", ""), "octavo jobs retry 3f0c1e6d"),
        (errors.NotFoundError(404, "key_not_found", "x"), "octavo keys ls"),
    ],
)
def test_the_next_step_fits_what_happened(error: errors.OctavoError, hint: str, capsys: pytest.CaptureFixture[str]):
    assert hint in said(error, capsys)[-1]


def test_a_job_that_was_cancelled_without_a_reason_invents_none():
    assert str(errors.JobFailedError("j1", "cancelled", "")) == "Job j1 was cancelled."


def test_a_wrong_key_of_the_environment_is_named(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("OCTAVO_API_KEY", "bad")
    assert "unset it" in said(errors.AuthenticationError(401, "unauthorized", "not valid"), capsys)[-1]
    monkeypatch.delenv("OCTAVO_API_KEY")
    assert "Set OCTAVO_API_KEY" in said(errors.AuthenticationError(401, "unauthorized", "not valid"), capsys)[-1]


def test_a_fault_of_the_platform_names_its_request(capsys: pytest.CaptureFixture[str]):
    assert report(errors.ServerError(500, "internal_error", "sorry", "req-9"), as_json=False) == 1
    assert "octavo logs gateway` has more under request id req-9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadAddressError("x"), 2),
        (errors.NotConfiguredError("x"), 3),
        (errors.UnreachableError("x"), 3),
        (errors.UnavailableError(503, "c", "x"), 3),
        (errors.ConflictError(409, "c", "x"), 4),
        (errors.NotFoundError(404, "c", "x"), 5),
        (errors.AuthenticationError(401, "c", "x"), 6),
        (errors.ForbiddenError(403, "c", "x"), 6),
        (errors.JobFailedError("j", "failed", "x"), 1),
        (errors.LocalFileError("x"), 1),
    ],
)
def test_exit_codes(error: errors.OctavoError, code: int, capsys: pytest.CaptureFixture[str]):
    assert report(error, as_json=False) == code
    assert EXIT_CODES[-1][0] is errors.OctavoError


@pytest.mark.parametrize(
    ("pointer", "option"),
    [
        ("/config/lr", "--set lr"),
        ("/config/milestones/0", "--set milestones.0"),
        ("/datasets/source", "--dataset source=…"),
        ("/models/init", "--model init=…"),
        ("/seed", "seed"),
        ("/source/upload", "the file"),
        ("/every_s", "--every"),
        ("/scopes/0", "--scope"),
        ("/teacher", "teacher"),
        ("/teacher/init", "--tune-teacher"),
        ("/teacher/train/model", "--train-teacher"),
        ("/teacher/finetune/model", "--teacher-set model"),
        ("/compare/baselines/1", "--compare-with"),
        ("/compare/seeds", "--seeds"),
        ("", "body"),
    ],
)
def test_fields_are_called_as_the_command_line_calls_them(pointer: str, option: str):
    assert option_of(errors.FieldProblem(pointer, "x")) == option
