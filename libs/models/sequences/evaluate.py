"""Measuring a registered recommender on a data set of events: the task `evaluate` for models that recommend items."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.windows import Split
from libs.models.sequences.baselines import measure_baselines
from libs.models.sequences.beside import check_beside, details_of, measure_beside, origin_of
from libs.models.sequences.evaluation import finite_figures
from libs.models.sequences.ranking import Popularity
from libs.models.sequences.report_sections import Comparison, comparison_section, data_section, slices_section
from libs.models.sequences.served import Served, ServedRules, measure_served, read_next_item, rules_of
from libs.serving.bundle import NextItemBundle
from libs.training.report.files import write_json
from libs.training.report.page import Tile, render_page
from libs.training.run import Outcome, Run


def evaluate(model: Path, events: Path, beside: Mapping[str, Path], split: str, batch_size: int, run: Run) -> Outcome:
    """Rank every held-out item of a split as the model is served, beside the baselines of the data set.

    Args:
        beside: registered models to be measured on the same cases, by the methods that trained them.

    Returns:
        `<split>/ndcg@10` and all else a training measures, `baseline/…` likewise; a report; how much is unknown to the
        model in the details.

    Raises:
        DataError: the split is none of `train`, `val`, `test`, holds nothing out, or a model knows none of the items.
        BundleError: the model recommends no items, or one beside it is of another method than its role says.
        Stopped: the run was asked to stop.
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"A recommender is measured on one of train, val and test, not on {split!r}.")
    bundle, data = read_next_item(model), open_event_data(events)
    rules = rules_of(bundle, batch_size)
    check_beside(beside, data)
    run.progress(0.0, "measuring")
    served = measure_served(model, data, cast(Split, split), rules, run)
    run.progress(1 / (2 + len(beside)), "measuring the baselines")
    baselines = measure_baselines(data.events, rules, cast(Split, split), run.device)
    if beside:
        run.progress(2 / (2 + len(beside)), "measuring the models beside it")
    others = measure_beside(beside, data, cast(Split, split), rules, run)
    popularity = Popularity(torch.from_numpy(data.events.training_counts()))
    comparison = Comparison(split, bundle.architecture, served.ranked, baselines, popularity, others)
    metrics = _metrics(comparison)
    for name, value in metrics.items():
        run.metric(name, value, 0)
    run.progress(1.0, "writing the report")
    details = {
        "split": split,
        "held_out_events": len(served.ranked.ranks),
        "held_out_events_of_unknown_items": served.unknown_targets,
        "items_unknown_to_the_model": served.unknown_items,
        **details_of(others),
    }
    report = run.folder / "report"
    _write(report, comparison, rules, bundle, data, served)
    write_json(report / "report.json", {"metrics": metrics, **details, "dataset_digest": data.manifest.digest})
    return Outcome(metrics=metrics, report=report, details=details)


def _metrics(comparison: Comparison) -> dict[str, float]:
    """Of the model under the split's name, of all others under theirs; what no case says anything of is left out."""
    split, beside = comparison.split, {role: one.ranked for role, one in comparison.beside.items()}
    others = {f"baseline/{name}/{split}": ranked for name, ranked in {**comparison.baselines, **beside}.items()}
    return finite_figures({split: comparison.model, **others}, comparison.popularity)


def _write(
    folder: Path, comparison: Comparison, rules: ServedRules, bundle: NextItemBundle, data: EventData, served: Served
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figures = comparison.figures()
    tiles = [Tile(f"NDCG@10 {who}", f"{found['ndcg@10']:.4f}", comparison.split) for who, found in figures.items()]
    subtitle = (
        f"{bundle.architecture}, which knows {bundle.items:,} items, as it is served, on data set "
        f"{data.manifest.digest[:12]}. {served.unknown_items:,} of its {data.manifest.items:,} items are unknown to "
        f"the model: {served.unknown_targets:,} of the {len(served.ranked.ranks):,} held-out events are of those and "
        f"count as never found. {origin_of(bundle, data.manifest.digest)}"
    )
    sections = [comparison_section(comparison, rules), slices_section(comparison), data_section(data)]
    page = render_page("Evaluation of a recommender", subtitle, tiles, sections)
    (folder / "report.html").write_text(page, encoding="utf-8")
