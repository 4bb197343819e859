"""FRSKD as one module: classifier, self-teacher and objective (Ji et al., CVPR 2021, arXiv 2103.08273)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from libs.models.frskd.augmentation_label import ROTATIONS, JointHead, aggregate, joint_targets, rotate_all
from libs.models.frskd.network import PointwiseBlock, SelfTeacher, Variant
from libs.models.frskd.objective import (
    BetaMode,
    FeatureLoss,
    attention_distance,
    attention_map,
    automatic_beta,
    fit_distance,
)
from libs.training.distillation import kd_loss
from libs.training.mixing import MixedTargets
from libs.training.objective import CrossEntropy, StepOutput, at_least_float32
from libs.training.tap_search import find_taps
from libs.training.taps import Tap, forward_with_taps, taps_at


class LevelError(ValueError):
    """Pictures or stage features that FRSKD cannot work on; the message names them."""

    user_error = True


@dataclass(frozen=True, slots=True)
class Pass:
    """What classifier and self-teacher made of one batch.

    Attributes:
        logits: z_C [B, K].
        features: F_i [B, C_i, H_i, W_i], finest first.
        teacher_logits: z_T [B, K].
        refined: T_i [B, D_i, H_i, W_i].
    """

    logits: Tensor
    features: list[Tensor]
    teacher_logits: Tensor
    refined: list[Tensor]


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """phi of every level, finest first, each [B, H_i, W_i]: for looking at."""

    classifier: list[Tensor]
    self_teacher: list[Tensor]


class FRSKD(nn.Module):
    """A classifier that learns with a self-teacher on its own features.

        L = CE(z_C, y) + CE(z_T, y) + alpha * L_KD(z_T → z_C) + beta * L_F(T → F)

    CE(z_T) reaches the classifier through the features; L_KD and L_F reach the classifier only. One optimiser trains
    all parameters; wrap this one module in DDP. Only `classifier` is served.

    Args:
        classifier: [B, C, H, W] → logits [B, K].
        taps: module paths or globs of the stage features, finest first; empty: found automatically.
        num_classes: K.
        example: a picture like those of the training, [1, C, H, W], on the classifier's device.
        variant: `channel` (BiFPNc, widths follow the classifier) or `constant` (BiFPN).
        width: width factor of the channel variant.
        depth: separable convolutions per fusion block.
        repeats: BiFPN layers.
        constant_channels: width of the constant variant.
        num_features: use only the last so many levels; None: all.
        alpha: weight of L_KD.
        beta: weight of L_F; None: from the example's size, see `automatic_beta`.
        temperature: T of L_KD.
        beta_mode: `paper`: L_F is a mean over positions; `sum`: a sum.
        feature_loss: `attention` compares phi maps, `fit` compares maps after a 1x1 block to the teacher's width.
        sla: self-supervised label augmentation; pictures are then square, a step costs four passes.
        sla_weight: lambda, weight of the SLA distillation terms.
        detach_inputs: ablation; CE(z_T) does not reach the classifier.
        class_weights: [K] factors of the cross-entropies.
        label_smoothing: of all cross-entropies.

    Raises:
        UnknownTapError: a tap that matches no module, or no map.
        NoFeatureMapsError: the classifier makes no map of more than one position.
        LevelError: fewer than two usable levels, levels that grow, or pictures that are not square with `sla`.
        ValueError: a number out of range.

    Example:
        >>> model = FRSKD(build_classifier("wrn-16-2", 10), [], 10, example=torch.zeros(1, 3, 32, 32))
        >>> model(pictures, labels).total.backward()
    """

    def __init__(
        self,
        classifier: nn.Module,
        taps: Sequence[str],
        num_classes: int,
        *,
        example: Tensor,
        variant: Variant = "channel",
        width: int = 2,
        depth: int = 2,
        repeats: int = 1,
        constant_channels: int = 256,
        num_features: int | None = None,
        alpha: float = 2.0,
        beta: float | None = None,
        temperature: float = 4.0,
        beta_mode: BetaMode = "paper",
        feature_loss: FeatureLoss = "attention",
        sla: bool = False,
        sla_weight: float = 1.0,
        detach_inputs: bool = False,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if temperature <= 0 or min(alpha, beta or 0.0, sla_weight) < 0:
            raise ValueError("temperature is above 0; alpha, beta and sla_weight are at least 0")
        if sla and example.shape[2] != example.shape[3]:
            raise LevelError(f"label augmentation turns pictures: they must be square, not {tuple(example.shape[2:])}")
        self.classifier = classifier
        self.taps = usable_levels(classifier, taps, example, num_features)
        self.alpha = alpha
        self.beta = automatic_beta((example.shape[2], example.shape[3]), beta_mode) if beta is None else beta
        self.temperature = temperature
        self.beta_mode: BetaMode = beta_mode
        self.sla_weight = sla_weight
        self.detach_inputs = detach_inputs
        channels = [tap.channels for tap in self.taps]
        self.self_teacher = SelfTeacher(
            channels,
            num_classes,
            variant=variant,
            width=width,
            depth=depth,
            repeats=repeats,
            constant_channels=constant_channels,
        )
        self.fit = self._fit_blocks(channels) if feature_loss == "fit" else None
        self.joint_classifier = JointHead(channels[-1], num_classes) if sla else None
        self.joint_self_teacher = JointHead(self.self_teacher.channels[-1], num_classes) if sla else None
        self.cross_entropy = CrossEntropy(class_weights, label_smoothing)
        joint_weights = None if class_weights is None else class_weights.repeat_interleave(ROTATIONS)
        self.joint_cross_entropy = CrossEntropy(joint_weights, label_smoothing)
        self.num_classes = num_classes

    def _fit_blocks(self, channels: Sequence[int]) -> nn.ModuleList:
        pairs = zip(channels, self.self_teacher.channels, strict=True)
        blocks = nn.ModuleList(PointwiseBlock(c, d) for c, d in pairs)
        return blocks.requires_grad_(self.beta > 0)  # a term of weight 0 is not differentiated

    def forward(self, pictures: Tensor, targets: Tensor | MixedTargets) -> StepOutput:
        """Losses of one batch.

        Args:
            pictures: [B, C, H, W].
            targets: class indices [B], label distributions [B, K], or mixed targets.
        """
        if isinstance(targets, MixedTargets):
            targets = targets.distributions(self.num_classes)
        return (
            self._plain_step(pictures, targets) if self.joint_classifier is None else self._sla_step(pictures, targets)
        )

    def run(self, pictures: Tensor) -> Pass:
        """One pass through classifier and self-teacher."""
        logits, features = forward_with_taps(self.classifier, self.taps, pictures)
        inputs = [feature.detach() for feature in features] if self.detach_inputs else features
        teacher_logits, refined = self.self_teacher(inputs)
        return Pass(at_least_float32(logits), features, at_least_float32(teacher_logits), refined)

    def _plain_step(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        made = self.run(pictures)
        levels = self.level_distances(made).mean(1)
        with torch.autocast(pictures.device.type, enabled=False):
            losses = {
                "ce_classifier": self.cross_entropy(made.logits, targets),
                "ce_self_teacher": self.cross_entropy(made.teacher_logits, targets),
                "kd": kd_loss(made.logits, made.teacher_logits, self.temperature),
                "feature": levels.sum(),
            }
        return self._output(losses, made.logits, made.teacher_logits, levels)

    def level_distances(self, made: Pass) -> Tensor:
        """Distance of every level's feature and refined map, per sample: [n, B], in float32."""
        if self.fit is not None:
            fitted = [block(feature) for block, feature in zip(self.fit, made.features, strict=True)]
            with torch.autocast(fitted[0].device.type, enabled=False):
                return torch.stack([fit_distance(f, t) for f, t in zip(fitted, made.refined, strict=True)])
        with torch.autocast(made.logits.device.type, enabled=False):
            pairs = zip(made.features, made.refined, strict=True)
            return torch.stack([attention_distance(f, t, self.beta_mode) for f, t in pairs])

    def _sla_step(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        """The step over four rotations. Rotation 0 is the picture itself, so its rows serve as the plain pass too."""
        assert self.joint_classifier is not None
        assert self.joint_self_teacher is not None
        made = self.run(rotate_all(pictures))  # rows 4b + k
        joint_c = at_least_float32(self.joint_classifier(made.features[-1]))
        joint_t = at_least_float32(self.joint_self_teacher(made.refined[-1]))
        distances = self.level_distances(made)
        with torch.autocast(pictures.device.type, enabled=False):
            z_c, z_t = made.logits[::ROTATIONS], made.teacher_logits[::ROTATIONS]
            aggregated_c, aggregated_t = aggregate(joint_c), aggregate(joint_t)
            pairs = joint_targets(targets)
            levels = (distances.sum(1) + distances[:, ::ROTATIONS].sum(1)) / (5 * len(pictures))
            losses = {
                "ce_classifier": self.cross_entropy(z_c, targets),
                "ce_self_teacher": self.cross_entropy(z_t, targets),
                "ce_joint_classifier": self.joint_cross_entropy(joint_c, pairs),
                "ce_joint_self_teacher": self.joint_cross_entropy(joint_t, pairs),
                "kd_sla_classifier": kd_loss(z_c, aggregated_c, self.temperature),
                "kd_sla_self_teacher": kd_loss(z_t, aggregated_t, self.temperature),
                "kd": kd_loss(torch.cat([z_c, aggregated_c]), torch.cat([z_t, aggregated_t]), self.temperature),
                "feature": levels.sum(),
            }
        return self._output(losses, z_c, z_t, levels)

    def _output(self, losses: dict[str, Tensor], logits: Tensor, teacher_logits: Tensor, levels: Tensor) -> StepOutput:
        weights = {"kd": self.alpha, "feature": self.beta}
        weights |= dict.fromkeys(("kd_sla_classifier", "kd_sla_self_teacher"), self.sla_weight)
        extras = {"self_teacher_logits": teacher_logits.detach(), "feature_levels": levels.detach()}
        return StepOutput(losses, {name: weights.get(name, 1.0) for name in losses}, logits, extras)

    @torch.no_grad()
    def attention_maps(self, pictures: Tensor) -> AttentionMaps:
        """phi of classifier and self-teacher on pictures [B, C, H, W]."""
        made = self.run(pictures)

        def maps(features: Sequence[Tensor]) -> list[Tensor]:
            return [attention_map(feature).reshape(-1, *feature.shape[-2:]) for feature in features]

        return AttentionMaps(maps(made.features), maps(made.refined))


def usable_levels(
    classifier: nn.Module, paths: Sequence[str], example: Tensor, num_features: int | None = None
) -> tuple[Tap, ...]:
    """The taps FRSKD works on: more than one position, sizes that do not grow, the last `num_features` of them.

    Raises:
        UnknownTapError: a path that matches no module or no map.
        NoFeatureMapsError: none was named, and the classifier makes none of more than one position.
        LevelError: fewer than two are left, or a map is larger than the one before.
    """
    taps = taps_at(classifier, paths, example) if paths else find_taps(classifier, example)
    for finer, coarser in pairwise(taps):
        if coarser.height > finer.height or coarser.width > finer.width:
            raise LevelError(
                f"levels go from fine to coarse, but {coarser.path} is {coarser.size} after {finer.path} {finer.size}"
            )
    used = taps if num_features is None else taps[-num_features:]
    if len(used) < 2:
        raise LevelError(
            f"FRSKD needs features of at least 2 levels, found {[tap.path for tap in used]} for pictures of "
            f"{tuple(example.shape[2:])}; name others as taps, or use larger pictures"
        )
    return tuple(used)
