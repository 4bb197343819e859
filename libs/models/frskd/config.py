"""Hyper-parameters of FRSKD (Ji et al., CVPR 2021). Imports no torch.

Sources of defaults: [code] the authors' published training script for CIFAR-100; [ours] chosen here.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from libs.models.classifier_config import ClassifierConfig

TapPattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class FrskdConfig(ClassifierConfig):
    """Self-knowledge distillation through a BiFPN self-teacher."""

    alpha: float = Field(
        default=2.0, ge=0, le=1000, description="Weight of the soft-label term L_KD. [code]; the paper uses 1 to 3."
    )
    beta: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="Weight of the feature term L_F. Empty: from the picture size, 100 (side/32)^2 in paper mode "
        "(100 is [code] for 32 px, the rule is [ours]), 0.4 in sum mode [ours]. The value used is in the job's log.",
    )
    beta_mode: Literal["paper", "sum"] = Field(
        default="paper",
        description="paper: L_F is a mean over positions [code]; sum: a sum, independent of the size [ours].",
    )
    temperature: float = Field(default=4.0, gt=0, le=100, description="Softens both logits in L_KD. [code]")
    feature_loss: Literal["attention", "fit"] = Field(
        default="attention",
        description="Distance of features in L_F: of attention maps [code], or of maps fitted by a 1x1 block, as "
        "FitNets (Romero et al. 2015) do.",
    )
    variant: Literal["channel", "constant"] = Field(
        default="channel",
        description="Self-teacher. channel: BiFPNc, widths follow the classifier [code]; constant: BiFPN, one width.",
    )
    width: int = Field(
        default=2, ge=1, le=16, description="Variant channel: factor on the classifier's channels. [code]"
    )
    constant_channels: int = Field(
        default=256, ge=1, le=4096, description="Variant constant: channels of every level. [code]"
    )
    depth: int = Field(default=2, ge=1, le=8, description="Separable convolutions per fusion block. [code]")
    repeats: int = Field(default=1, ge=1, le=8, description="BiFPN layers in a row. [code]")
    num_features: int | None = Field(
        default=None, ge=2, le=16, description="Use only the last so many stages. Empty: all. [code]"
    )
    taps: tuple[TapPattern, ...] = Field(
        default=(),
        max_length=64,
        description="Module paths or globs of the stage features, finest first. Empty: found automatically. [ours]",
    )
    sla: bool = Field(
        default=False,
        description="Self-supervised label augmentation with 4 rotations, 4 times the cost; "
        "square pictures only. Lee et al. 2020; off [ours].",
    )
    sla_weight: float = Field(
        default=1.0, ge=0, le=1000, description="Weight of the distillation terms of label augmentation. [code]"
    )
    detach_inputs: bool = Field(
        default=False,
        description="Ablation [ours]: the self-teacher's cross-entropy does not reach the classifier.",
    )
