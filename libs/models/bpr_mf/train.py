"""Training of BPR-MF, and what it would cost."""

from dataclasses import replace

from libs.data.events.dataset import EventData
from libs.data.events.windows import Split
from libs.models.bpr_mf.config import BprMfConfig
from libs.models.bpr_mf.network import BprMf, MeanOfHistory, users_with_training
from libs.models.sequences.cost import estimate_sequences
from libs.models.sequences.evaluation import ModelScorer, Ranked, RankingMeasurer
from libs.models.sequences.finish import TrainedSequences, finish_next_item
from libs.models.sequences.prepare import open_training_events, warm_started
from libs.models.sequences.ranking import figures_of
from libs.models.sequences.task import FittedSequences, fit_sequences
from libs.training.estimate import count_parameters
from libs.training.finish import ReportPart
from libs.training.precision import device_of, precision_for
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run

_SPLITS: tuple[Split, ...] = ("val", "test")


def train(config: BprMfConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train on the events `inputs.datasets["train"]`; item vectors from `inputs.models["init"]` if that is given.

    The outcome's figures are of what is served, which knows no users; those with the vectors of known users are in the
    report and in the details.
    """
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    served = warm_started(MeanOfHistory(data.manifest.items, config.width), "bpr-mf", data, inputs, config, run)
    fitted = fit_sequences(BprMf(served, users_with_training(data.events)), data.events, config, run)
    val, test = (_as_served(served, data, config, run, split) for split in _SPLITS)
    trained = TrainedSequences("bpr-mf", "BPR-MF training", served, data, config, replace(fitted, val=val, test=test))
    return finish_next_item(trained, inputs, run, method_part=lambda: user_vectors_part(fitted))


def estimate(config: BprMfConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    served = MeanOfHistory(data.manifest.items, config.width)
    model = BprMf(served, users_with_training(data.events))
    details = estimate_sequences(model, data.events, config, run).details
    return Outcome(details={**details, "served_parameters": count_parameters(served)})


def _as_served(served: MeanOfHistory, data: EventData, config: BprMfConfig, run: Run, split: Split) -> Ranked | None:
    measurer = RankingMeasurer(data.events, split, config, run.device)
    if not len(measurer.windows):
        return None
    precision = precision_for(config.amp, device_of(run.device))
    return measurer(ModelScorer(served.eval(), precision, run.device))


def user_vectors_part(fitted: FittedSequences) -> ReportPart:
    """Figures with the vectors of known users, as the method was published."""
    from libs.training.report.page import Section, Table

    found = {split: ranked for split, ranked in (("val", fitted.val), ("test", fitted.test)) if ranked is not None}
    figures = {split: figures_of(ranked.ranks) for split, ranked in found.items()}
    names = sorted({name for of in figures.values() for name in of})
    rows = [[name, *(f"{of[name]:.4f}" for of in figures.values())] for name in names]
    table = Table(["", *figures], rows, frozenset(range(1, 1 + len(figures))), wide=False)
    text = (
        "With the vectors of known users, as the method was published: this is also what the course of the training "
        "shows. A served model is handed histories, not users, so the figures above take the mean of the item vectors "
        "of the history for everybody."
    )
    flat = {f"{split}/{name}": value for split, of in figures.items() for name, value in of.items()}
    return ReportPart([Section("With user vectors", text, [table])], {"user_vectors": flat})
