"""AFD as one module: student, teacher and objective (Ji et al., AAAI 2021, arXiv 2102.02973)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from libs.models.afd.network import AFDLoss, Linked, summary
from libs.models.afd.objective import BetaMode, automatic_beta
from libs.models.teacher import Teacher
from libs.training.distillation import kd_loss
from libs.training.objective import CrossEntropy, StepOutput
from libs.training.tap_search import Level, NoFeatureMapsError, find_taps
from libs.training.taps import Tap, UnknownTapError, forward_with_taps, taps_at

MAX_TAPS = 64


class TapChoiceError(ValueError):
    """Features that cannot be linked; the message names the setting or the network."""

    user_error = True


class AFD(nn.Module):
    """A student that learns from labels, a teacher's logits and a teacher's features.

        L = CE(z_S, y) + kd_weight * L_KD(z_T → z_S) + beta * L_AFD(h^T → h^S)

    Unlabelled pictures take part in L_KD and L_AFD. One optimiser trains student and attention network; wrap this one
    module in DDP. The teacher is no part of its state. Only `classifier`, the student, is served.

    Args:
        classifier: the student, [B, C, H, W] → logits [B, K].
        teacher: frozen.
        example: a picture like those of the training, [1, C, H, W], on the student's device.
        kd_weight: weight of L_KD; 0: off.
        temperature: T of L_KD.
        beta: weight of L_AFD; 0: off, no features are tapped; None: from the example's size, see `automatic_beta`.
        beta_mode: `paper`: distances are means over positions; `sum`: sums.
        width: d of queries and keys.
        level: which features are linked where no taps are named.
        taps_student: module paths or globs; empty: found automatically.
        taps_teacher: likewise.
        shares_classes: whether the teacher tells the student's classes apart; without that there is no L_KD.
        class_weights: [K] factors of the cross-entropy.
        label_smoothing: of the cross-entropy.

    Raises:
        TapChoiceError: a tap that matches no module or no map, too many of them, or a student or teacher that makes no
            feature map of more than one position.
        ValueError: L_KD with other classes.

    Example:
        >>> model = AFD(build_classifier("wrn-16-2", 10), teacher, example=torch.zeros(1, 3, 32, 32))
        >>> model(pictures, labels).total.backward()
    """

    def __init__(
        self,
        classifier: nn.Module,
        teacher: Teacher,
        *,
        example: Tensor,
        kd_weight: float = 0.9,
        temperature: float = 4.0,
        beta: float | None = None,
        beta_mode: BetaMode = "paper",
        width: int = 128,
        level: Level = "block",
        taps_student: Sequence[str] = (),
        taps_teacher: Sequence[str] = (),
        shares_classes: bool = True,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if kd_weight and not shares_classes:
            raise ValueError("soft labels need a teacher with the student's classes")
        self.classifier = classifier
        self.teacher = teacher
        self.kd_weight = kd_weight
        self.temperature = temperature
        self.beta = automatic_beta((example.shape[2], example.shape[3]), beta_mode) if beta is None else beta
        self.shares_classes = shares_classes
        self.cross_entropy = CrossEntropy(class_weights, label_smoothing)
        self.student_taps: tuple[Tap, ...] = ()
        self.teacher_taps: tuple[Tap, ...] = ()
        self.afd: AFDLoss | None = None
        if self.beta:
            self.student_taps = _taps("student", classifier, taps_student, example, level)
            self.teacher_taps = _taps("teacher", teacher.network, taps_teacher, teacher.example, level)
            student, taught_by = ([tap.channels for tap in taps] for taps in (self.student_taps, self.teacher_taps))
            self.afd = AFDLoss(student, taught_by, width, beta_mode)
        teacher.fold(self.teacher_taps)

    def forward(self, pictures: Tensor, *others: Tensor) -> StepOutput:
        """Losses of one batch: `(pictures, targets)` or `(pictures, unlabelled, targets)`.

        Args:
            pictures: [B, C, H, W].
            others: pictures without labels [U, C, H, W], where there are; then class indices [B] or label
                distributions [B, K].
        """
        *unlabelled, targets = others
        every = torch.cat([pictures, *unlabelled]) if unlabelled else pictures
        logits, features = forward_with_taps(self.classifier, self.student_taps, every)
        teacher_logits, taught = self.teacher.with_taps(every, self.teacher_taps, summary)
        labelled = len(pictures)
        with torch.autocast(pictures.device.type, enabled=False):
            losses = {"ce_classifier": self.cross_entropy(logits[:labelled], targets)}
            if self.kd_weight:
                losses["kd"] = kd_loss(logits, teacher_logits, self.temperature)
        if self.afd is not None:
            losses["feature"] = self.afd.link([summary(feature) for feature in features], taught).loss
        weights = {"ce_classifier": 1.0, "kd": self.kd_weight, "feature": self.beta}
        extras = {"teacher_logits": teacher_logits[:labelled]} if self.shares_classes else {}
        return StepOutput(losses, {name: weights[name] for name in losses}, logits[:labelled], extras)

    @torch.no_grad()
    def links(self, pictures: Tensor) -> Linked:
        """L_AFD, alpha and D of pictures [B, C, H, W]: for looking at.

        Raises:
            ValueError: beta is 0.
        """
        if self.afd is None:
            raise ValueError("no features are linked: beta is 0")
        _, features = forward_with_taps(self.classifier, self.student_taps, pictures)
        _, taught = self.teacher.with_taps(pictures, self.teacher_taps, summary)
        return self.afd.link([summary(feature) for feature in features], taught)


def _taps(who: str, network: nn.Module, patterns: Sequence[str], example: Tensor, level: Level) -> tuple[Tap, ...]:
    """The taps named, or those found at a level.

    Raises:
        TapChoiceError: see `AFD`.
    """
    try:
        taps = taps_at(network, patterns, example) if patterns else find_taps(network, example, level)
    except UnknownTapError as error:
        raise TapChoiceError(f"taps_{who}: {error}") from None
    except NoFeatureMapsError as error:
        raise TapChoiceError(f"The {who}: {error} With beta 0 soft labels alone teach.") from None
    if len(taps) > MAX_TAPS:
        found = f"{', '.join(patterns)}: these are {len(taps)} features, at most {MAX_TAPS} are linked"
        raise TapChoiceError(f"taps_{who}: {found}")
    return tuple(taps)
