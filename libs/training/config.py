"""Hyper-parameters every image-classification method shares. Imports no torch: the gateway serves the schema."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ImageTrainingConfig(BaseModel):
    """Model, data, optimisation and bookkeeping of one training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # model
    model: str = Field(
        default="auto",
        max_length=200,
        description="Network to train: a small-picture network (`wrn-16-2`, `resnet20` …), `timm/NAME` or "
        "`torchvision/NAME`. auto: wrn-16-2 up to 64 px, else torchvision/resnet18.",
    )
    pretrained: bool = Field(default=False, description="Start from published weights (timm/ and torchvision/ only).")
    image_size: int = Field(default=0, ge=0, le=1024, description="Side in px the network sees; 0: the data set's own.")

    # optimisation
    epochs: int = Field(default=30, ge=1, le=10_000)
    max_steps: int | None = Field(default=None, ge=1, description="Stop after this many optimiser steps.")
    batch_size: int = Field(default=64, ge=2, le=65_536, description="Pictures per optimiser step, over all processes.")
    accumulate: int = Field(default=1, ge=1, le=1024, description="Micro-batches a step is split into.")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.1, gt=0, le=100, description="Peak learning rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    schedule: Literal["one-cycle", "cosine", "multi-step", "constant"] = "one-cycle"
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75), max_length=16, description="multi-step: fractions of the run at which lr falls."
    )
    lr_factor: float = Field(default=0.1, gt=0, lt=1, description="multi-step: what lr is multiplied by.")
    warmup_steps: int = Field(default=0, ge=0, description="Linear warm-up (cosine, multi-step, constant).")
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(
        default=None, ge=0, lt=1, description="Average of the weights, used for evaluation."
    )
    amp: Literal["auto", "off", "bfloat16", "float16"] = Field(
        default="auto",
        description="auto: bfloat16 on GPUs that have it, else float16 on a GPU, off on a CPU.",
    )
    channels_last: bool = True
    compile: bool = Field(default=False, description="torch.compile the training step.")
    deterministic: bool = Field(default=True, description="Bitwise repeatable on one machine and build.")

    # data
    augment: Literal["auto", "none", "flip-crop", "crop", "strong"] = Field(
        default="auto", description="auto: crop for grey pictures up to 32 px, else flip-crop."
    )
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: float | None = Field(default=None, gt=0, description="Beta(alpha, alpha); mixup 0.2, cutmix 1.0.")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    workers: int = Field(default=0, ge=0, le=64, description="Loader processes; 0: load in the training process.")
    train_pictures: int | None = Field(default=None, ge=2, description="Train on a stratified sample of this size.")

    # bookkeeping
    evaluate_every_epochs: int = Field(default=1, ge=1)
    checkpoint_every_s: float = Field(
        default=60.0, ge=0, description="Least time between checkpoints, besides the last."
    )
    checkpoint: Literal["best", "last"] = Field(default="best", description="Which weights are exported.")
    monitor: Literal["accuracy", "balanced_accuracy", "nll"] = "accuracy"
    patience_epochs: int | None = Field(default=None, ge=1, description="Stop when the monitored figure stands still.")
    calibrate: bool = Field(default=True, description="Fit a temperature on the validation split.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be a multiple of accumulate")
        if any(not 0 < m < 1 for m in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones must be rising fractions between 0 and 1")
        return self
