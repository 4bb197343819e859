"""Hyper-parameters every next-item method shares. Imports no torch: the gateway serves the schema.

Sources of defaults: [SASRec] Kang & McAuley 2018, "Self-attentive sequential recommendation"; [gSASRec] Petrov &
Macdonald 2023; [ours] chosen here. What the figures mean: docs/evaluation_of_recommendations.md.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from libs.training.config import TrainingConfig
from libs.training.run import Inputs

BESIDE = frozenset({"bpr-mf", "gru4rec", "narm", "sasrec"})
"""Roles of registered models that are measured beside a job's own, each named by the method that trained its model."""


def beside_of(inputs: Inputs) -> dict[str, Path]:
    """Role → bundle of the models that are to be measured beside the job's own, in the order of their names."""
    return {role: inputs.models[role] for role in sorted(BESIDE & inputs.models.keys())}


class SequenceTrainingConfig(TrainingConfig):
    """One training of a next-item model on sequences of events."""

    epochs: int = Field(default=200, ge=1, le=10_000, description="Passes over the training windows. [ours]")
    batch_size: int = Field(
        default=128, ge=1, le=65_536, description="Windows per optimiser step, over all processes. [SASRec]"
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        default="adamw", description="adamw, which without decay is Adam [SASRec]; sgd."
    )
    lr: float = Field(default=1e-3, gt=0, le=100, description="Peak learning rate. [SASRec]")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="On every parameter. None [SASRec].")
    schedule: Literal["one-cycle", "cosine", "multi-step", "constant"] = Field(
        default="constant", description="Course of the learning rate. constant [SASRec]."
    )
    patience_epochs: int | None = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Stop when the monitored figure has not improved for so many epochs. Empty: never. [ours]",
    )

    max_length: int = Field(
        default=50, ge=1, le=2000, description="Most events of a history that the model reads. [SASRec]"
    )
    objective: Literal["softmax", "bce", "gbce", "bpr"] = Field(
        default="softmax",
        description="softmax: cross-entropy over all items; bce: against sampled negatives [SASRec]; gbce: bce that "
        "takes back the overconfidence of sampling [gSASRec]; bpr: each positive above its negatives (Rendle et al. "
        "2009). softmax [ours].",
    )
    negatives: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="bce, gbce, bpr: items sampled for each target. 1 [SASRec]; [gSASRec] 256.",
    )
    gbce_calibration: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="gbce: t; 0 is bce that weighs every sample alike, 1 makes probabilities calibrated. [gSASRec]",
    )
    exclude_seen: bool = Field(
        default=True,
        description="Items of the history are no candidates in evaluation. Turn it off where people come back to the "
        "same items, as in music. [ours]",
    )
    monitor: Literal["ndcg@10", "hr@10", "mrr@20", "hr@20"] = Field(
        default="ndcg@10",
        description="Figure of the validation split, over the full ranking, that says which weights are best. [ours]",
    )

    freeze: Literal["none", "backbone"] = Field(
        default="none",
        description="With a model to start from: backbone trains only the vectors of items that model does not know, "
        "and leaves all else as it is. [ours]",
    )

    also_seen: bool = Field(
        default=False,
        description="Measure under the other rule of exclude_seen as well; those figures end in _seen_included or "
        "_seen_excluded. Off [ours].",
    )
    most_scores: int = Field(
        default=10_000_000_000,
        ge=1,
        le=10**15,
        description="Scores (cases times items) of one measurement of a split, at most; a split that would take more "
        "is measured on a random part of its windows, always the same one. [ours]",
    )
    ties: Literal["mid", "optimistic", "pessimistic"] = Field(
        default="mid",
        description="Where a held-out item stands among items of its very score: in their middle, before or behind "
        "them. mid [ours].",
    )
    sampled_candidates: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Measure against so many sampled items as well, 100 in [SASRec]; those figures end in _sampled100 "
        "and compare with no full ranking. Empty: the full ranking alone. [ours]",
    )
    sampling: Literal["distinct", "reference"] = Field(
        default="distinct",
        description="sampled_candidates: items the user never met, none twice [ours]; reference: as [SASRec]'s code, "
        "with repetition, anything but the user's training items.",
    )

    @model_validator(mode="after")
    def _frozen_is_not_decayed(self) -> Self:
        if self.freeze == "backbone" and self.weight_decay:
            raise ValueError("weight_decay would shrink what freeze keeps; set weight_decay to 0")
        return self

    @property
    def single_targets(self) -> bool:
        """Whether a window has one target, its last row, as a model needs that answers only at the end."""
        return False
