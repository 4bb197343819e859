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


def test_a_refusal_is_one_block_with_field_and_remedy(capsys: pytest.CaptureFixture[str]):
    assert report(PROBLEM, as_json=False) == 4
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "error: config.beta: too [large]"
    assert "--set beta  too [large]" in said
    assert "--dataset  unknown" in said
    assert "octavo methods METHOD" in said


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]):
    assert report(PROBLEM, as_json=True) == 4
    said = json.loads(capsys.readouterr().err)
    assert said["code"] == "invalid_request"
    assert said["errors"][0] == {"pointer": "/config/beta", "message": "too [large]", "location": "body"}


def test_a_fault_of_the_platform_names_its_request(capsys: pytest.CaptureFixture[str]):
    assert report(errors.ServerError(500, "internal_error", "sorry", "req-9"), as_json=False) == 1
    assert "octavo logs gateway` has more under request id req-9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
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
        ("", "body"),
    ],
)
def test_fields_are_called_as_the_command_line_calls_them(pointer: str, option: str):
    assert option_of(errors.FieldProblem(pointer, "x")) == option
