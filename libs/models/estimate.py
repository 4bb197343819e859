"""The task `estimate`: what a training would cost here, from three real steps."""

from libs.models.catalog import method
from libs.models.estimate_config import EstimateConfig
from libs.training.run import Inputs, Outcome, Run


def run(config: EstimateConfig, inputs: Inputs, run: Run) -> Outcome:
    """Parameters, memory and time of a training, in the outcome's `details`; nothing is trained or kept.

    Raises:
        DataError: the data cannot be trained on with this config.
    """
    return method(config.of).load_estimate()(config.parsed(), inputs, run)
