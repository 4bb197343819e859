"""What RKSA adds to the report: what the user's identity is worth, and how users mix the relations."""

from typing import Any

import torch

from libs.models.rksa.model import RksaModel
from libs.models.sequences.evaluation import Ranked
from libs.models.sequences.ranking import figures_of
from libs.training.finish import ReportPart
from libs.training.report.page import Section, Table

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def relations_part(model: RksaModel, split: str, known: Ranked | None, hidden: Ranked | None) -> ReportPart:
    """Sections and details of a trained model.

    Args:
        split: what `known` and `hidden` are of: the same cases with the user as they are, and hidden.
    """
    mixture = mixture_quantiles(model)
    sections = [_mixture_section(mixture)]
    if known is not None and hidden is not None:
        sections.insert(0, _hidden_section(split, known, hidden))
    return ReportPart(sections, {"mixture_over_users": mixture})


def mixture_quantiles(model: RksaModel) -> dict[str, Any]:
    """How users mix the relations: users, and quantiles over them of each relation's weight and of the entropy."""
    device = model.item_vectors.device
    weights = model.mixtures(device).double()
    columns = dict(zip(model.kernels.settings.relations, weights.T, strict=True))
    columns |= {"entropy_nats": torch.special.entr(weights).sum(1)}
    at = torch.tensor(_QUANTILES, dtype=torch.float64, device=device)
    found = {name: torch.quantile(values.cpu(), at.cpu()).tolist() for name, values in columns.items()}
    return {"users": len(weights), "quantiles": list(_QUANTILES), **found}


def _mixture_section(mixture: dict[str, Any]) -> Section:
    rows = [
        [name, *(f"{value:.3f}" for value in values)]
        for name, values in mixture.items()
        if name not in ("users", "quantiles")
    ]
    header = ["", *(f"{at:.0%}" for at in mixture["quantiles"])]
    text = (
        f"Weights of the relations' kernels, and the entropy of each user's mixture, over {mixture['users']:,} users: "
        "the value that so many of them are below. Where all columns of a row are alike, users do not differ in it."
    )
    return Section("How users mix the relations", text, [Table(header, rows, frozenset(range(1, len(header))))])


def _hidden_section(split: str, known: Ranked, hidden: Ranked) -> Section:
    figures = [figures_of(ranked.ranks) for ranked in (known, hidden)]
    rows = [[name, *(f"{of[name]:.4f}" for of in figures)] for name in figures[0]]
    text = (
        f"The same cases of {split}, once for the user they belong to, once for the unknown user, as a session or "
        "somebody the model never met is served: with the unknown user's mixture, factors of all users, and nobody's "
        "share taken out of the counts, which hold what these users themselves had in training. Of people who are not "
        "in the data it will be somewhat worse."
    )
    return Section("With the user hidden", text, [Table(["", "known", "hidden"], rows, frozenset({1, 2}), wide=False)])
