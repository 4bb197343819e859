"""The task `compare`: a method beside its baselines over several seeds, all trained by jobs of their own."""

from collections.abc import Mapping
from importlib import import_module

from libs.models.catalog import Task, method
from libs.models.compare_config import CompareConfig
from libs.serving.errors import MismatchError
from libs.training.run import Inputs, Outcome, Run

COMPARES: Mapping[Task, str] = {
    "image-classification": "libs.serving.comparison.pictures",
    "next-item": "libs.models.sequences.compare",
}
"""By what a model does: the module whose `compare` measures such models. Loaded where it runs, as methods are: it may
read with torch, which servers do without."""


def run(config: CompareConfig, inputs: Inputs, run: Run) -> Outcome:
    """Compare; see `libs.models.compare_config.CompareConfig`.

    Args:
        inputs: the data set `train`; the model of every run, as `afd/0`; the model `teacher` where there is one; of
            recommenders registered models by their method, `gru4rec`.

    Returns:
        `afd/accuracy`, `rksa/ndcg@10` and the like, means over the seeds; `afd-supervised/accuracy` and the like, mean
        paired differences; a report; a file of what every run says of every picture, or held-out event.

    Raises:
        MismatchError: a run is missing, or nothing could be measured.
        DataError: the data set is damaged.
        Stopped: the run was asked to stop; it starts anew next time.
    """
    missing = [name for name in config.runs() if name not in inputs.models]
    if missing:
        raise MismatchError(f"The models of these runs are missing: {', '.join(missing)}.")
    compared: Outcome = import_module(COMPARES[method(config.of).task]).compare(config, inputs, run)
    return compared
