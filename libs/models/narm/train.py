"""Training of NARM, and what it would cost."""

from typing import TYPE_CHECKING

from torch import nn

from libs.models.narm.config import NarmConfig
from libs.models.sequences.cost import estimate_sequences
from libs.models.sequences.finish import TrainedSequences, finish_next_item
from libs.models.sequences.prepare import open_training_events, warm_started
from libs.models.sequences.recurrent import NARM
from libs.models.sequences.task import fit_sequences
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run

if TYPE_CHECKING:
    from libs.models.sequences.graphs import Servable


def train(config: NarmConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train on the events `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    model = warm_started(build_model(config, data.manifest.items), "narm", data, inputs, config, run)
    fitted = fit_sequences(model, data.events, config, run)
    trained = TrainedSequences("narm", "NARM training", model, data, config, fitted)
    return finish_next_item(trained, inputs, run, _servable)


def estimate(config: NarmConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    return estimate_sequences(build_model(config, data.manifest.items), data.events, config, run)


def build_model(config: NarmConfig, num_items: int) -> NARM:
    """The network as the config describes it."""
    return NARM(num_items, config.width, dropout=config.dropout, output_dropout=config.output_dropout)


def _servable(model: nn.Module) -> "Servable":
    from libs.models.narm.export import servable

    assert isinstance(model, NARM)
    return servable(model)
