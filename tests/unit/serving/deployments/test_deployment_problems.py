"""What an inference service answers when a library fails."""

import pytest
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.serving.deployments.problems import PROBLEMS, as_problem


@pytest.mark.parametrize("error", [PoolTimeoutError("no connection"), OperationalError("SELECT 1", {}, OSError())])
def test_a_database_that_does_not_answer_is_a_503_with_a_time_to_come_back(error: Exception):
    problem = as_problem(error, PROBLEMS)
    assert (problem.status, problem.problem_code) == (503, "database_unavailable")
    assert problem.headers == {"Retry-After": "2"}


def test_a_statement_that_took_too_long_is_no_database_that_is_away():
    problem = as_problem(OperationalError("SELECT 1", {}, QueryCanceled("statement timeout")), PROBLEMS)
    assert (problem.status, problem.problem_code) == (503, "statement_timeout")
