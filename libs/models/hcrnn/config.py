"""Hyper-parameters of HCRNN (Song et al., AAAI 2019). Imports no torch.

Sources of defaults: [code] the authors' published configuration and run script; [ours] chosen here.
"""

from typing import Literal

from pydantic import Field

from libs.models.sequences.config import SequenceTrainingConfig


class HcrnnConfig(SequenceTrainingConfig):
    """Next items from three levels of interest: global contexts, a slow local one, a fast temporary one."""

    version: Literal[1, 2, 3] = Field(
        default=3,
        description="How the local context enters the reset. 1: the previous one; 2: the agreement of the item and "
        "the new one; 3: that agreement in a gate of its own, the interest drift. 3 is best in the paper.",
    )
    attention: Literal["single", "bi"] = Field(
        default="bi",
        description="Read-out. single: over temporary contexts; bi: a second attention by local contexts. bi is best "
        "in the paper.",
    )
    train_mode: Literal["prefix", "causal"] = Field(
        default="causal",
        description="prefix: each prefix of a history is an example, and its topics are inferred from all of it "
        "[code]; causal: one pass answers at every position, from topics of the items up to it [ours], which is many "
        "times faster and lets a live session go on in constant time.",
    )
    update: Literal["joint", "two_phase"] = Field(
        default="joint",
        description="two_phase: of each batch, first a step on the topic encoder alone, then one on everything else "
        "[code], at twice the cost; joint: one step on everything [ours].",
    )
    drift_constraint: Literal["clip", "softplus"] = Field(
        default="clip",
        description="Versions 2 and 3: how the matrix that reads the agreement stays positive. clip: cut off at 0 "
        "after each step [code]; softplus: the softplus of free weights, so that no step is corrected [ours].",
    )
    topics: int = Field(default=50, ge=2, le=1000, description="K, global contexts. [code]")
    item_dim: int = Field(default=100, ge=4, le=1024, description="d, width of items and of local contexts. [code]")
    hidden_dim: int = Field(default=100, ge=4, le=1024, description="H, width of the temporary context. [code]")
    input_dropout: float = Field(
        default=0.25, ge=0, lt=1, description="Of the inputs and, apart, of the bag that topics come from. [code]"
    )
    output_dropout: float = Field(default=0.5, ge=0, lt=1, description="Of the feature before it scores. [code]")
    divergence_weight: float = Field(
        default=1e-3, ge=0, le=1000, description="lambda, weight of the divergence of topics from their prior. [code]"
    )

    @property
    def single_targets(self) -> bool:
        """In prefix mode a window has one target, its last row."""
        return self.train_mode == "prefix"
