"""Hyper-parameters of FRSKD (Ji et al., CVPR 2021). Imports no torch."""

from typing import Literal

from pydantic import Field

from libs.training.config import ImageTrainingConfig


class FrskdConfig(ImageTrainingConfig):
    """Self-knowledge distillation through a BiFPN self-teacher."""

    alpha: float = Field(default=2.0, ge=0, le=1000, description="Weight of the soft-label term L_KD.")
    beta: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="Weight of the feature term L_F. Empty: from the picture size, 100 (side/32)^2 in paper mode.",
    )
    beta_mode: Literal["paper", "sum"] = Field(
        default="paper",
        description="paper: L_F is a mean over positions; sum: a sum, which does not shrink with size.",
    )
    temperature: float = Field(default=4.0, gt=0, le=100, description="Softens both logits in L_KD.")
    variant: Literal["channel", "constant"] = Field(
        default="channel",
        description="channel: BiFPNc, widths follow the classifier; constant: one width (BiFPN).",
    )
    width: int = Field(
        default=2,
        ge=1,
        le=1024,
        description="channel: factor on the classifier's widths; constant: 0-level width.",
    )
    depth: int = Field(default=2, ge=1, le=8, description="Separable convolutions per fusion block.")
    repeats: int = Field(default=1, ge=1, le=8, description="BiFPN layers in a row.")
    num_features: int | None = Field(default=None, ge=2, le=16, description="Use only the last so many stages.")
    taps: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="Module paths or globs of the stage features. Empty: found automatically.",
    )
    feature_loss: Literal["attention", "fit"] = Field(default="attention", description="Distance of features in L_F.")
    sla: bool = Field(default=False, description="Self-supervised label augmentation with 4 rotations.")
    detach_inputs: bool = Field(
        default=False, description="Ablation: the self-teacher's cross-entropy does not reach the backbone."
    )
