"""Hyper-parameters of GRU4Rec. Imports no torch.

Sources of defaults: [GRU4Rec] Hidasi et al., ICLR 2016, arXiv 1511.06939; [ours] chosen here.
"""

from pydantic import Field

from libs.models.sequences.config import SequenceTrainingConfig


class Gru4recConfig(SequenceTrainingConfig):
    """One GRU layer over the items of a history; its state scores the next one."""

    width: int = Field(
        default=64, ge=4, le=1024, description="Of the item table and of the state. [ours]; [GRU4Rec] has 100 and 1000."
    )
    tied: bool = Field(
        default=True,
        description="Scores are products with the table that the input is read from. Off: with a table of their own, "
        "as [GRU4Rec]; on [ours], it has half the parameters.",
    )
    dropout: float = Field(
        default=0.25, ge=0, lt=1, description="Share of the values of inputs and states that is dropped. [ours]"
    )
