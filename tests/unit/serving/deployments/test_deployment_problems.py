"""What an inference service answers when a library fails."""

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.serving.deployments.problems import as_problem


@pytest.mark.parametrize("error", [PoolTimeoutError("no connection"), OperationalError("SELECT 1", {}, OSError())])
def test_a_database_that_does_not_answer_is_a_503_with_a_time_to_come_back(error: Exception):
    problem = as_problem(error)
    assert (problem.status, problem.problem_code) == (503, "database_unavailable")
    assert problem.headers == {"Retry-After": "2"}
