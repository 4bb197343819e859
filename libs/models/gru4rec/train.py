"""Training of GRU4Rec, and what it would cost."""

from libs.models.gru4rec.config import Gru4recConfig
from libs.models.sequences.cost import estimate_sequences
from libs.models.sequences.finish import TrainedSequences, finish_next_item
from libs.models.sequences.prepare import open_training_events, warm_started
from libs.models.sequences.recurrent import GRU4Rec
from libs.models.sequences.task import fit_sequences
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run


def train(config: Gru4recConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train on the events `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    model = warm_started(build_model(config, data.manifest.items), "gru4rec", data, inputs, config, run)
    fitted = fit_sequences(model, data.events, config, run)
    trained = TrainedSequences("gru4rec", "GRU4Rec training", model, data, config, fitted)
    return finish_next_item(trained, inputs, run)


def estimate(config: Gru4recConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    return estimate_sequences(build_model(config, data.manifest.items), data.events, config, run)


def build_model(config: Gru4recConfig, num_items: int) -> GRU4Rec:
    """The network as the config describes it."""
    return GRU4Rec(num_items, config.width, tied=config.tied, dropout=config.dropout)
