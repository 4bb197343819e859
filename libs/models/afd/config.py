"""Hyper-parameters of AFD (Ji et al., AAAI 2021). Imports no torch.

Sources of defaults: [code] the authors' published training script for CIFAR-100; [ours] chosen here.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from libs.models.classifier_config import ClassifierConfig

TapPattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_PATTERNS = "Module paths or globs of the {0}'s features. Empty: found automatically, at `tap_level`. [ours]"


class AfdConfig(ClassifierConfig):
    """Distillation from a teacher: soft labels (KD) and feature maps linked by attention (AFD).

    `model` and all that is shared describe the student.
    """

    kd_weight: float = Field(
        default=0.9, ge=0, le=1000, description="Weight of the soft-label term L_KD; 0: off. [code]"
    )
    temperature: float = Field(default=4.0, gt=0, le=100, description="Softens both logits in L_KD. [code]")
    beta: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="Weight of the feature term L_AFD; 0: off. Empty: from the picture size, 200 (side/32)^2 in paper "
        "mode (200 is [code] for 32 px, the rule is [ours]), 0.8 in sum mode [ours]. The value used is in the job's "
        "log.",
    )
    beta_mode: Literal["paper", "sum"] = Field(
        default="paper",
        description="paper: distances are means over positions [code]; sum: sums, independent of the size [ours].",
    )
    width: int = Field(default=128, ge=1, le=4096, description="d, length of queries and keys. [code]")
    tap_level: Literal["block", "stage"] = Field(
        default="block",
        description="Which features are linked: every block's output, at most 24 a network [code], or the last of "
        "each resolution [ours].",
    )
    taps_student: tuple[TapPattern, ...] = Field(default=(), max_length=64, description=_PATTERNS.format("student"))
    taps_teacher: tuple[TapPattern, ...] = Field(default=(), max_length=64, description=_PATTERNS.format("teacher"))
    sync_bn: bool = Field(
        default=False,
        description="Several GPUs: the batch norms of the attention network see the whole batch, not a process's "
        "part of it. [ours]",
    )
    unlabelled_ratio: float = Field(
        default=2.0,
        gt=0,
        le=64,
        description="Unlabelled pictures in a step for each labelled one, where a data set of such pictures is given; "
        "they take part in L_KD and L_AFD. [ours]",
    )

    @model_validator(mode="after")
    def _distils(self) -> Self:
        if self.kd_weight == 0 and self.beta == 0:
            raise ValueError("kd_weight and beta are both 0: nothing comes from the teacher; use method supervised")
        return self
