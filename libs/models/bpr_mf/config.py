"""Hyper-parameters of BPR-MF. Imports no torch.

Sources of defaults: [BPR] Rendle et al., UAI 2009, arXiv 1205.2618; [ours] chosen here.
"""

from typing import Literal

from pydantic import Field

from libs.models.sequences.config import SequenceTrainingConfig


class BprMfConfig(SequenceTrainingConfig):
    """Matrix factorisation by pairwise ranking: a vector a user, a vector an item, no order of events."""

    width: int = Field(default=64, ge=4, le=1024, description="Of user and item vectors. [ours]")
    objective: Literal["softmax", "bce", "gbce", "bpr"] = Field(
        default="bpr", description="bpr: each positive above its negatives [BPR]; the others as everywhere."
    )
    negatives: int = Field(default=1, ge=1, le=10_000, description="Items sampled for each target. [BPR]")
