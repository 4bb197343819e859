"""`services.worker.child` in which `supervised` reports the time of each of its reports, for `reporting_delay`."""

import dataclasses
import sys
import time
from pathlib import Path

from libs.models.catalog import METHODS
from libs.models.supervised.config import SupervisedConfig
from libs.training.run import Inputs, Outcome, Run
from services.worker.child import run_and_exit

INTERVAL_S = 0.05


def train(config: SupervisedConfig, inputs: Inputs, run: Run) -> Outcome:
    """`config.max_steps` times a metric, a progress and a line of log, each with the time it was sent at."""
    assert config.max_steps is not None
    for step in range(1, config.max_steps + 1):
        run.metric("sent", time.time(), step)
        run.progress(step / config.max_steps, repr(time.time()))
        run.log("sent", at=time.time())
        time.sleep(INTERVAL_S)
    return Outcome()


if __name__ == "__main__":
    METHODS["supervised"] = dataclasses.replace(METHODS["supervised"], entry="benchmarks.reporting_child:train")
    run_and_exit(Path(sys.argv[1]))
