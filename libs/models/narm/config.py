"""Hyper-parameters of NARM. Imports no torch.

Sources of defaults: [NARM] Li et al., "Neural attentive session-based recommendation", CIKM 2017, arXiv 1711.04725;
[ours] chosen here.
"""

from pydantic import Field

from libs.models.sequences.config import SequenceTrainingConfig


class NarmConfig(SequenceTrainingConfig):
    """A GRU, an attention over its states, and a bilinear map to the item table."""

    width: int = Field(
        default=64, ge=4, le=1024, description="Of the item table and of the state. [ours]; [NARM] has 50 and 100."
    )
    dropout: float = Field(default=0.25, ge=0, lt=1, description="Share of the inputs that is dropped. [NARM]")
    output_dropout: float = Field(default=0.5, ge=0, lt=1, description="Share of the feature that is dropped. [NARM]")
