"""Training of HCRNN, and what it would cost."""

from typing import TYPE_CHECKING

from torch import nn

from libs.models.hcrnn.config import HcrnnConfig
from libs.models.hcrnn.model import HcrnnModel
from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.cost import estimate_sequences
from libs.models.sequences.finish import TrainedSequences, finish_next_item
from libs.models.sequences.prepare import open_training_events, warm_started
from libs.models.sequences.task import fit_sequences
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run
from libs.training.session import Phases

if TYPE_CHECKING:
    from libs.models.sequences.graphs import Servable


def train(config: HcrnnConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train on the events `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    model = warm_started(build_model(config, data.manifest.items), "hcrnn", data, inputs, config, run)
    fitted = fit_sequences(model, data.events, config, run, model.network.project, phases_of(model, config))
    trained = TrainedSequences("hcrnn", "HCRNN training", model, data, config, fitted)
    return finish_next_item(trained, inputs, run, _servable)


def estimate(config: HcrnnConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    model = build_model(config, data.manifest.items)
    return estimate_sequences(model, data.events, config, run, phases_of(model, config))


def build_model(config: HcrnnConfig, num_items: int) -> HcrnnModel:
    """The network as the config describes it."""
    network = HCRNN(
        num_items,
        config.item_dim,
        config.hidden_dim,
        config.topics,
        version=config.version,
        attention=config.attention,
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
        drift_constraint=config.drift_constraint,
    )
    return HcrnnModel(network, config.divergence_weight, config.train_mode)


def phases_of(model: HcrnnModel, config: HcrnnConfig) -> Phases:
    """What is stepped after what; nothing: all at once."""
    return model.two_phases() if config.update == "two_phase" else ()


def _servable(model: nn.Module) -> "Servable":
    from libs.models.hcrnn.export import servable

    assert isinstance(model, HcrnnModel)
    return servable(model)
