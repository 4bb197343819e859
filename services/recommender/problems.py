"""The libraries' exceptions as problems of a recommender, whose requests name their deployment as `model`."""

from collections.abc import Callable

from libs.serving.deployments.problems import PROBLEMS as SHARED
from libs.serving.errors import ModelNotLoaded, WrongTask
from libs.web.problems import FieldProblem, NotFoundError, ProblemMap


def _not_served(code: str) -> Callable[[ModelNotLoaded], NotFoundError]:
    def problem(error: ModelNotLoaded) -> NotFoundError:
        return NotFoundError(str(error), code=code, errors=[FieldProblem(pointer="/model", message=str(error))])

    return problem


PROBLEMS: ProblemMap = {
    **SHARED,
    ModelNotLoaded: _not_served("model_not_loaded"),
    WrongTask: _not_served("wrong_task"),
}
