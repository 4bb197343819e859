"""Hyper-parameters that methods share. Imports no torch: the gateway serves the schema.

Sources of defaults: [WRN] Zagoruyko & Komodakis 2016, "Wide Residual Networks", section 3; [ours] chosen here, for
small data sets on small machines. Other papers are named where they count.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]


class TrainingConfig(BaseModel):
    """Optimisation and bookkeeping of one training run, whatever it is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # optimisation
    epochs: int = Field(
        default=30, ge=1, le=10_000, description="Passes over the training split. [ours]; [WRN] has 200."
    )
    max_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Stop after this many optimiser steps. Empty: only by epochs. [ours]",
    )
    batch_size: int = Field(
        default=64,
        ge=2,
        le=65_536,
        description="Examples (pictures, sequences) per optimiser step, over all processes. [ours]; [WRN] has 128.",
    )
    accumulate: int = Field(default=1, ge=1, le=1024, description="Micro-batches a step is split into. [ours]")
    optimizer: Literal["sgd", "adamw"] = Field(
        default="sgd", description="sgd [WRN]; adamw: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."
    )
    lr: float = Field(default=0.1, gt=0, le=100, description="Peak learning rate; 0.1 is for sgd. [WRN]")
    momentum: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Of sgd. adamw averages gradients by 0.9 as well, squares by adam_beta2. [WRN]",
    )
    adam_beta2: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="adamw: share of the old in the mean square of gradients. Kingma & Ba 2015.",
    )
    nesterov: bool = Field(
        default=False, description="Nesterov's form of momentum, sgd only. Off [ours]; [WRN] has it on."
    )
    weight_decay: float = Field(
        default=5e-4, ge=0, le=1, description="L2 penalty (sgd) or decoupled decay (adamw), on every parameter. [WRN]"
    )
    schedule: Literal["one-cycle", "cosine", "multi-step", "constant"] = Field(
        default="one-cycle",
        description="Course of the learning rate. one-cycle: up and down again (Smith & Topin 2017) [ours]; "
        "cosine: half a cosine to 0 (Loshchilov & Hutter 2017); multi-step: falls at milestones (He et al. 2016).",
    )
    milestones: tuple[Fraction, ...] = Field(
        default=(0.5, 0.75),
        max_length=16,
        description="multi-step: fractions of the run at which lr falls. He et al. 2016, section 4.2.",
    )
    lr_factor: float = Field(
        default=0.1, gt=0, lt=1, description="multi-step: what lr is multiplied by. He et al. 2016, section 4.2."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Steps of linear warm-up (cosine, multi-step, constant), as in Goyal et al. 2017. Off [ours].",
    )
    clip_grad_norm: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Longest gradient, in the 2-norm over all parameters; longer ones are scaled down "
        "(Pascanu et al. 2013). Empty: not clipped [ours].",
    )
    ema_decay: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Exponential average of the weights, used for evaluation and export. Empty: none [ours].",
    )
    amp: Literal["auto", "off", "bfloat16", "float16"] = Field(
        default="auto",
        description="Mixed precision (Micikevicius et al. 2018). auto: bfloat16 on GPUs that have it, else float16 "
        "on a GPU, off on a CPU [ours].",
    )
    compile: bool = Field(default=False, description="torch.compile the training step. [ours]")
    deterministic: bool = Field(
        default=True,
        description="Bitwise repeatable on one machine and build. Some networks have parts that no GPU computes "
        "repeatably (an adaptive pooling to more than one position, say): the job then says so. [ours]",
    )

    # bookkeeping
    evaluate_every_epochs: int = Field(
        default=1, ge=1, le=10_000, description="Epochs between two evaluations on the validation split. [ours]"
    )
    checkpoint_every_s: float = Field(
        default=60.0, ge=0, le=86_400, description="Least time between checkpoints, besides the last. [ours]"
    )
    checkpoint: Literal["best", "last"] = Field(default="best", description="Which weights are exported. [ours]")
    patience_epochs: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Stop when the monitored figure has not improved for so many epochs. Empty: never. [ours]",
    )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of a run that nothing ends early."""
        steps = self.epochs * steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be a multiple of accumulate")
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones must rise")
        return self


class ImageTrainingConfig(TrainingConfig):
    """Model, data, optimisation and bookkeeping of one training of an image classifier."""

    # model
    model: str = Field(
        default="auto",
        max_length=200,
        description="Network to train: a small-picture network (`wrn-16-2`, `resnet20` …), `timm/NAME` or "
        "`torchvision/NAME`. auto: wrn-16-2 up to 64 px, else torchvision/resnet18. [ours]",
    )
    pretrained: bool = Field(
        default=False, description="Start from published weights (timm/ and torchvision/ only). [ours]"
    )
    image_size: int = Field(
        default=0, ge=0, le=1024, description="Side in px the network sees; 0: the data set's own. [ours]"
    )

    channels_last: bool = Field(
        default=True,
        description="Keep pictures and weights as NHWC in memory, which is faster on most machines. [ours]",
    )

    # data
    augment: Literal["auto", "none", "flip-crop", "crop", "strong"] = Field(
        default="auto",
        description="Random changes of training pictures. flip-crop: pad, crop and mirror (He et al. 2016), "
        "above 64 px a random resized crop; crop: without mirroring; strong: with TrivialAugment (Müller & Hutter "
        "2021). auto: crop for grey pictures up to 32 px, else flip-crop [ours].",
    )
    mix: Literal["none", "mixup", "cutmix"] = Field(
        default="none",
        description="Mix two pictures and their labels: mixup (Zhang et al. 2018) blends, cutmix (Yun et al. 2019) "
        "pastes a box. none [ours].",
    )
    mix_alpha: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Shares are drawn from Beta(alpha, alpha). Empty: 0.2 for mixup, 1.0 for cutmix. [ours]",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="Weights of the classes in the cross-entropy. balanced: inverse to their number of training "
        "pictures. none [ours].",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of a label that is spread over all classes (Szegedy et al. 2016, section 7). Off [ours].",
    )
    workers: int = Field(
        default=0, ge=0, le=64, description="Loader processes; 0: load in the training process. [ours]"
    )
    train_pictures: int | None = Field(
        default=None,
        ge=2,
        le=2**31,
        description="Train on a stratified sample of this size. Empty: on all pictures. [ours]",
    )

    # bookkeeping
    monitor: Literal["accuracy", "balanced_accuracy", "nll"] = Field(
        default="accuracy",
        description="Figure of the validation split that says which weights are best and when to stop early; nll is "
        "better when lower. [ours]",
    )
    calibrate: bool = Field(
        default=True, description="Fit a temperature on the validation split (Guo et al. 2017). On [ours]."
    )
