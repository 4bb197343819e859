"""The soft-label loss of distillation methods (Hinton et al. 2015), in float32 whatever the logits' precision."""

from torch import Tensor
from torch.nn import functional as F

from libs.training.objective import at_least_float32


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """L_KD = T^2/B sum_b KL( softmax(z_T/T) || softmax(z_S/T) ); no gradient reaches the teacher.

    Logits are [B, K, ...]: softmax over K, mean over B and any pixel positions.
    """
    student = at_least_float32(student_logits) / temperature
    teacher = at_least_float32(teacher_logits.detach()) / temperature
    divergence = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="none")
    return divergence.sum(1).mean() * temperature**2
