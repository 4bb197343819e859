"""Hyper-parameters of RKSA and of SASRec, which is RKSA without relations. Imports no torch.

Sources of defaults: [SASRec] Kang & McAuley 2018; [paper] Ji et al. 2020, "Sequential recommendation with
relation-aware kernelized self-attention", as far as it could be read; [ours] chosen here (docs/methods/rksa.md).
"""

from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from libs.models.sequences.config import SequenceTrainingConfig

Relation = Literal["cooccurrence", "item", "user"]
Mixture = Literal["user", "fixed"]
Form = Literal["low-rank", "dense"]
Activation = Literal["identity", "softplus", "relu"]
Places = Literal["first", "last"]
NoisePer = Literal["row", "sequence"]


class SasrecConfig(SequenceTrainingConfig):
    """Self-attention over a history: blocks of one head each."""

    width: int = Field(default=64, ge=1, le=2048, description="d: of embeddings and features. [ours]; 50 [SASRec].")
    blocks: int = Field(default=2, ge=1, le=16, description="Attention blocks in a row. [SASRec]")
    places: Places = Field(
        default="first",
        description="The event that learned positions count from. first: a window's first one [ours]; last: its last "
        "one, so that recency is what they tell, as padding on the left makes it [SASRec's public code].",
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="0.5 on sparse data, 0.2 on dense [SASRec]; 0.2 [ours]."
    )


class RksaConfig(SasrecConfig):
    """SASRec whose attention logits are a skew-normal variable, correlated by relations between items."""

    relations: tuple[Relation, ...] = Field(
        default=("cooccurrence", "item", "user"),
        max_length=3,
        description="Kernels in the mixture; none makes plain attention. All three [paper].",
    )
    mixture: Mixture = Field(
        default="user", description="user: the kernels' weights depend on the user [paper]; fixed: one set [ours]."
    )
    skew: bool = Field(default=True, description="Off leaves a Gaussian, an ablation. On [paper].")
    noise: NoisePer = Field(
        default="row", description="Draw noise for each row of the attention, or once for a sequence. row [ours]."
    )
    form: Form = Field(
        default="low-rank",
        description="low-rank: factors of the co-occurrence kernel and no factorisation in a step; dense: the kernel "
        "itself, one Cholesky factor a sequence, for short histories. low-rank [ours].",
    )
    rank: int = Field(default=16, ge=1, le=512, description="Columns of the item and user factors. [ours]")
    cooccurrence_rank: int = Field(
        default=64, ge=1, le=1024, description="Columns of the co-occurrence factors, from a truncated SVD. [ours]"
    )
    folds: int = Field(
        default=4,
        ge=2,
        le=32,
        description="Folds of users: a user's sequences read co-occurrence factors made without their fold. [ours]",
    )
    own_user_out: bool = Field(
        default=True,
        description="Take a user's own share out of the counts their sequences read. Off is an ablation, and keeps "
        "the users' training items out of the model's files. On [ours].",
    )
    most_neighbours: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Keep the counts of only so many neighbours of each item. Empty: all up to 10 million events, "
        "then 128 [ours]. The value used is in the job's log.",
    )
    start_scale: float = Field(
        default=-1.1,
        ge=-10,
        le=5,
        description="w0 in omega = softplus(w0 + q.k): -1.1 starts at a standard deviation of 0.29 [ours]; "
        "0 is the form of [paper], which starts at 0.69.",
    )
    activation: Activation = Field(
        default="identity", description="f of the location and of the shape; the paper leaves it open. identity [ours]."
    )
    kernel_loss: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Weight of the loss that fits the item and user kernels to the co-occurrence kernel. [paper] has "
        "one, in a form we could not read; ours is off by default.",
    )
    latent_divergence: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Weight of the divergence of each row's logits from independent ones around the same location, "
        "with a standard deviation of prior_scale; in nats a key. It keeps the spread from vanishing, holds the skew "
        "down and, as its prior knows no relations, the correlations too. Off by default [ours].",
    )
    prior_scale: float = Field(
        default=0.3,
        gt=0,
        le=100,
        description="latent_divergence: standard deviation of the prior, about where start_scale begins. [ours]",
    )
    unknown_user: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the windows whose user is hidden in training, so that histories without a user can be "
        "read. [ours]",
    )
    kernel_lr_factor: float = Field(
        default=10.0,
        gt=0,
        le=1000,
        description="Learning rate of kernels, mixture and shape, as a multiple of lr. [ours]",
    )
    samples: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Outside training, average the attention over so many fixed draws. 0: use the mean logits. [ours]",
    )

    @field_validator("relations")
    @classmethod
    def _in_one_order(cls, relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
        """Weights of a mixture have no names: models with the same relations must have them in the same places."""
        return tuple(sorted(relations, key=get_args(Relation).index))

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if len(set(self.relations)) != len(self.relations):
            raise ValueError("relations must not repeat")
        if self.kernel_loss and not {"item", "user"} & set(self.relations):
            raise ValueError(
                "kernel_loss fits the item and user kernels; name one of them in relations, or set it to 0"
            )
        if self.latent_divergence and not self.relations:
            raise ValueError("latent_divergence is of logits that relations make uncertain; name one, or set it to 0")
        if self.form == "dense" and self.most_neighbours is not None:
            raise ValueError("form dense needs all counts, or its kernel is none; leave most_neighbours empty")
        if self.form == "dense" and self.samples:
            raise ValueError("form dense is served by its mean; set samples to 0, or form to low-rank")
        if self.form == "dense" and self.max_length > 200:
            raise ValueError(
                "form dense factorises a matrix a sequence; set max_length to 200 or less, or form low-rank"
            )
        return self
