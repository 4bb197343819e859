"""What every training of a next-item model does after its last step: measure, export, report.

ONNX Runtime and what draws are imported where they are used: no job should wait for them before its first step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from libs.data.events.dataset import EventData
from libs.data.events.windows import Split
from libs.models.sequences.beside import Beside, details_of, measure_beside
from libs.models.sequences.config import SequenceTrainingConfig, beside_of
from libs.models.sequences.evaluation import Ranked, finite_figures
from libs.models.sequences.ranking import Popularity
from libs.models.sequences.task import FittedSequences
from libs.serving.bundle import Lineage, NextItemBundle
from libs.training.finish import ReportPart
from libs.training.processes import join_processes
from libs.training.run import Inputs, Outcome, Run

if TYPE_CHECKING:
    from libs.models.sequences.graphs import Servable


@dataclass(frozen=True, slots=True)
class TrainedSequences:
    """A next-item model that has been fitted, and what it was fitted with.

    Attributes:
        method: name in the catalog; also the bundle's architecture.
        title: what the report is headed.
        model: holds the chosen weights.
        otherwise: rankings of the reported split under other conditions, by their names in metrics: `hidden_user`
            makes `test/hidden_user/ndcg@10`.
    """

    method: str
    title: str
    model: nn.Module
    events: EventData
    config: SequenceTrainingConfig
    fitted: FittedSequences
    otherwise: Mapping[str, Ranked] = field(default_factory=dict)


def finish_next_item(
    trained: TrainedSequences,
    inputs: Inputs,
    run: Run,
    servable_of: "Callable[[nn.Module], Servable] | None" = None,
    method_part: Callable[[], ReportPart] = ReportPart,
) -> Outcome:
    """Measure, export and report a trained model; only the main process writes.

    Args:
        inputs: of the training; the models in them that are to be measured beside it are.
        servable_of: the graphs to serve; None: `libs.models.sequences.export.features_alone`.
        method_part: makes what the method itself adds to the report; called in the main process only.

    Returns:
        Figures of the chosen weights (`val/…`, `test/…`), bundle, report, and in `details` what the run was.

    Raises:
        Stopped: the run was asked to stop while others were measured beside it.
    """
    if not join_processes(run.device).main:
        return Outcome()
    run.progress(1.0, "measuring the baselines")
    baselines = _baselines(trained, run)
    beside = _beside(trained, inputs, run)
    metrics = final_figures(trained, {**baselines, **{role: one.ranked for role, one in beside.items()}})
    run.progress(1.0, "exporting")
    bundle = _export(trained, run, metrics, servable_of)
    run.progress(1.0, "writing the report")
    part = method_part()
    _report(trained, run, bundle, metrics, baselines, beside, part)
    return Outcome(
        metrics=metrics,
        bundle=run.folder / "bundle",
        report=run.folder / "report",
        details={**_details(trained, bundle), **details_of(beside), **part.details},
    )


def _baselines(trained: TrainedSequences, run: Run) -> dict[str, Ranked]:
    from libs.models.sequences.baselines import measure_baselines

    return measure_baselines(trained.events.events, trained.config, reported_split(trained.fitted), run.device)


def _beside(trained: TrainedSequences, inputs: Inputs, run: Run) -> dict[str, Beside]:
    folders = beside_of(inputs)
    if folders:
        run.progress(1.0, "measuring the models beside it")
    return measure_beside(folders, trained.events, reported_split(trained.fitted), trained.config, run)


def reported_split(fitted: FittedSequences) -> Split:
    """The split that reports are about: `test`, or `val` where there is none."""
    return "val" if fitted.test is None else "test"


def final_figures(trained: TrainedSequences, baselines: Mapping[str, Ranked]) -> dict[str, float]:
    """`val/…` and `test/…` of the chosen weights, `test/CONDITION/…`, `baseline/NAME/test/…`.

    What no case says anything of is left out.

    Args:
        baselines: by name, the models beside the trained one among them.
    """
    popularity = Popularity(torch.from_numpy(trained.events.events.training_counts()))
    split = reported_split(trained.fitted)
    measured = {"val": trained.fitted.val, "test": trained.fitted.test}
    measured |= {f"{split}/{name}": ranked for name, ranked in trained.otherwise.items()}
    measured |= {f"baseline/{name}/{split}": ranked for name, ranked in baselines.items()}
    return finite_figures(measured, popularity)


def _export(
    trained: TrainedSequences,
    run: Run,
    metrics: Mapping[str, float],
    servable_of: "Callable[[nn.Module], Servable] | None",
) -> NextItemBundle:
    from libs.models.sequences.export import export_next_item, features_alone

    bundle = export_next_item(
        trained.model,
        run.folder / "bundle",
        trained.events,
        architecture=trained.method,
        max_length=trained.config.max_length,
        exclude_seen=trained.config.exclude_seen,
        lineage=Lineage(
            method=trained.method,
            dataset_digests={"train": trained.events.manifest.digest},
            seed=run.seed,
            config=trained.config.model_dump(mode="json"),
        ),
        metrics=metrics,
        servable_of=servable_of or features_alone,
    )
    if bundle.parity is not None and not bundle.parity.passed:
        run.log("the ONNX model differs from the trained one", "warning", **bundle.parity.model_dump())
    return bundle


def _report(
    trained: TrainedSequences,
    run: Run,
    bundle: NextItemBundle,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Ranked],
    beside: Mapping[str, Beside],
    part: ReportPart,
) -> None:
    from libs.models.sequences.report import RecommendationReport, write_recommendation_report

    content = RecommendationReport(
        title=trained.title,
        method=trained.method,
        data=trained.events,
        config=trained.config,
        fitted=trained.fitted,
        bundle=bundle,
        metrics=metrics,
        baselines=baselines,
        beside=beside,
        sections=part.sections,
        method_details={**part.details, **part.data},
    )
    write_recommendation_report(run.folder / "report", content)


def _details(trained: TrainedSequences, bundle: NextItemBundle) -> dict[str, Any]:
    fitted = trained.fitted
    return {
        "architecture": bundle.architecture,
        "parameters": bundle.parameters,
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        "chosen_epoch": fitted.chosen_epoch,
        "stopped_early": fitted.stopped_early,
        "parity_passed": bundle.parity is not None and bundle.parity.passed,
    }
