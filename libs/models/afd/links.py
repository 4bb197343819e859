"""Which features of student and teacher AFD links, averaged over pictures."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.loading import evaluation_batches
from libs.models.afd.method import AFD
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import in_memory_format
from libs.training.precision import device_of, precision_for
from libs.training.taps import Tap

OBSERVED_PICTURES = 256
BATCH = 64


@dataclass(frozen=True, slots=True)
class Links:
    """alpha averaged over pictures.

    Attributes:
        attention: [T, S], rows sum to 1; on the CPU.
        entropy: [T], in shares of log S, the entropies of single pictures averaged; 1 is spread evenly.
        teachers: module paths of the rows, with sizes.
        students: of the columns.
        same_size: share of the attention between features of one size, over the rows whose size some student feature
            has.
        even_share: what it would be, were the attention spread evenly.
        split: where the pictures are from.
        pictures: how many.
    """

    attention: Tensor
    entropy: Tensor
    teachers: Sequence[str]
    students: Sequence[str]
    same_size: float
    even_share: float
    split: str
    pictures: int

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "attention": self.attention.tolist(),
            "entropy": self.entropy.tolist(),
            "teacher_features": list(self.teachers),
            "student_features": list(self.students),
            "same_size": self.same_size,
            "even_share": self.even_share,
            "split": self.split,
            "pictures": self.pictures,
        }


def measure_links(
    method: AFD, data: ClassificationData, config: ImageTrainingConfig, device: str, limit: int | None = None
) -> Links:
    """The links on the validation split (without one, on training pictures), in evaluation mode.

    Args:
        limit: at most so many pictures, evenly spread over the split; None: all.
    """
    whole = data.val or data.train
    chosen = np.linspace(0, len(whole) - 1, min(limit or len(whole), len(whole))).round().astype(int)
    split = ImageSplit(whole.data, whole.name, whole.ids[chosen])
    was_training = method.training
    method.eval()
    links = links_of(
        _attention(method, split, data, config, device), method.teacher_taps, method.student_taps, split.name
    )
    method.train(was_training)
    return links


def _attention(
    method: AFD, split: ImageSplit, data: ClassificationData, config: ImageTrainingConfig, device: str
) -> Iterator[Tensor]:
    """alpha of the pictures of a split, in batches [N, T, S]."""
    precision = precision_for(config.amp, device_of(device))
    for pictures, _ in evaluation_batches(split, data.recipe, BATCH, device):
        with precision.autocast():
            attention = method.links(in_memory_format(pictures, config.channels_last)).attention
        yield attention


def links_of(attention: Iterable[Tensor], teachers: Sequence[Tap], students: Sequence[Tap], split: str) -> Links:
    """Averages of alpha, which comes in batches [N, T, S]; none is kept, a split may have more than memory holds."""
    mean = torch.zeros(len(teachers), len(students), dtype=torch.float64)
    entropy, pictures = torch.zeros(len(teachers), dtype=torch.float64), 0
    for batch in attention:
        alpha = batch.double().cpu()
        mean += alpha.sum(0)
        entropy -= (alpha * alpha.clamp_min(1e-12).log()).sum((0, 2))
        pictures += len(alpha)
    mean /= pictures
    entropy /= pictures * max(math.log(len(students)), 1e-12)
    same = torch.tensor([[t.size == s.size for s in students] for t in teachers])
    rows = same.any(1)
    return Links(
        attention=mean,
        entropy=entropy,
        teachers=[_named(tap) for tap in teachers],
        students=[_named(tap) for tap in students],
        same_size=float((mean * same)[rows].sum(1).mean()) if bool(rows.any()) else 0.0,
        even_share=float(same[rows].double().mean()) if bool(rows.any()) else 0.0,
        split=split,
        pictures=pictures,
    )


def _named(tap: Tap) -> str:
    return f"{tap.path} {tap.height}x{tap.width}"


def link_figures(
    method: nn.Module, data: ClassificationData, config: ImageTrainingConfig, device: str
) -> Mapping[str, float]:
    """Entropy of the attention, over all teacher features and by their size; nothing where no features are linked."""
    assert isinstance(method, AFD)
    if method.afd is None:
        return {}
    links = measure_links(method, data, config, device, OBSERVED_PICTURES)
    by_size: dict[str, list[float]] = {}
    for tap, value in zip(method.teacher_taps, links.entropy.tolist(), strict=True):
        by_size.setdefault(f"{tap.height}x{tap.width}", []).append(value)
    figures = {f"links/entropy_{size}": sum(values) / len(values) for size, values in by_size.items()}
    return {**figures, "links/entropy_all": float(links.entropy.mean()), "links/same_size": links.same_size}
