"""Training of RKSA and of SASRec, which is RKSA without relations, and what they would cost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from torch import nn

from libs.data.events.dataset import EventData
from libs.data.events.store import EventStore
from libs.models.rksa.build import build_rksa, build_sasrec
from libs.models.rksa.config import RksaConfig, SasrecConfig
from libs.models.rksa.model import RksaModel, SasrecModel
from libs.models.sequences.cost import estimate_sequences
from libs.models.sequences.evaluation import ModelScorer, Ranked, RankingMeasurer
from libs.models.sequences.finish import TrainedSequences, finish_next_item, reported_split
from libs.models.sequences.prepare import open_training_events, warm_started
from libs.models.sequences.task import FittedSequences, fit_sequences
from libs.training.finish import ReportPart
from libs.training.history import History
from libs.training.precision import device_of, precision_for
from libs.training.processes import join_processes
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run

if TYPE_CHECKING:
    from libs.models.sequences.graphs import Servable

HIDDEN_USER = "hidden_user"
"""What figures with the user hidden begin with, behind their split."""

_MOST_ONE_SIDED = 0.9
_NO_SPREAD = 0.05


def train(config: SasrecConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train on the events `inputs.datasets["train"]`, from `inputs.models["init"]` if that is given."""
    prepare_randomness(run.seed, config.deterministic)
    method, title = ("rksa", "RKSA training") if isinstance(config, RksaConfig) else ("sasrec", "SASRec training")
    data = open_training_events(inputs)
    model = warm_started(build_model(config, data.events, run), method, data, inputs, config, run)
    fitted = fit_sequences(model, data.events, config, run)
    for warning in warnings_of(fitted.history):
        run.log(warning, "warning")

    hidden = _with_hidden_users(model, data, config, fitted, run)

    def servable_of(plain: nn.Module) -> "Servable":
        return _servable(plain, data, config.max_length)

    trained = TrainedSequences(method, title, model, data, config, fitted, hidden)
    return finish_next_item(trained, inputs, run, servable_of, lambda: _part_of(trained))


def estimate(config: SasrecConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_training_events(inputs)
    return estimate_sequences(build_model(config, data.events, run), data.events, config, run)


def _with_hidden_users(
    model: RksaModel | SasrecModel, data: EventData, config: SasrecConfig, fitted: FittedSequences, run: Run
) -> dict[str, Ranked]:
    """The reported split once more, for the unknown user; empty where users do not matter or nothing is held out."""
    measurer = RankingMeasurer(data.events, reported_split(fitted), config, run.device)
    if not isinstance(model, RksaModel) or not len(measurer.windows) or not join_processes(run.device).main:
        return {}
    run.progress(1.0, "measuring with hidden users")
    precision = precision_for(config.amp, device_of(run.device))
    return {HIDDEN_USER: measurer(ModelScorer(model.eval(), precision, run.device, hide_users=True))}


def _part_of(trained: TrainedSequences) -> ReportPart:
    if not isinstance(trained.model, RksaModel):
        return ReportPart()
    from libs.models.rksa.report import relations_part

    split = reported_split(trained.fitted)
    known = trained.fitted.val if split == "val" else trained.fitted.test
    return relations_part(trained.model, split, known, trained.otherwise.get(HIDDEN_USER))


def build_model(config: SasrecConfig, events: EventStore, run: Run) -> RksaModel | SasrecModel:
    """The network as the config describes it, and for RKSA the counts and factors of the training events."""
    if not isinstance(config, RksaConfig):
        return build_sasrec(config, events)
    model = build_rksa(config, events, run.seed)
    if isinstance(model, RksaModel):
        counts = model.tables.cooccurrence
        run.log("items that go together counted", pairs=len(counts.keys), most_neighbours=counts.most_neighbours)
    return model


def warnings_of(history: History) -> list[str]:
    """What the last observed figures say against reading anything into the relations."""
    last = {name: history.series(name)[-1].value for name in history.names if name.startswith("rksa/")}
    found = []
    if last.get("rksa/one_relation_users", 0.0) > _MOST_ONE_SIDED:
        found.append(_one_sided(last))
    spreads = [value for name, value in last.items() if name.startswith("rksa/omega_median")]
    if spreads and max(spreads) < _NO_SPREAD:
        found.append(
            f"The logits hardly vary (median omega {max(spreads):.3g} at most): this run is degenerate, SASRec with a "
            "detour. Raise start_scale, or give latent_divergence a weight."
        )
    return found


def _one_sided(last: Mapping[str, float]) -> str:
    mixture = {name.removeprefix("rksa/mixture_"): value for name, value in last.items() if "/mixture_" in name}
    mixture.pop("entropy_nats", None)
    relation = max(mixture, key=lambda name: mixture[name])
    return (
        f"{last['rksa/one_relation_users']:.0%} of the users attend by one relation alone, mostly {relation!r}; the "
        "shares of relations explain nothing then. Lower kernel_lr_factor, or train with that relation only."
    )


def _servable(model: nn.Module, data: EventData, max_length: int) -> "Servable":
    from libs.models.sequences.export import features_alone

    if not isinstance(model, RksaModel):
        return features_alone(model)
    from libs.models.rksa.export import servable

    return servable(model, pl.Series("id", data.users.all_ids()), max_length)
