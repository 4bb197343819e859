"""Matrix factorisation (Rendle et al., UAI 2009, section 4.3.1) as a next-item model.

The score of item i for user u is the product of their vectors, whatever the order of events. Nothing is known of a user
without training events, nor of any user when the model is served: there the mean of the item vectors of the history
stands for the user's own vector. The paper has nothing for such users; that is ours.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.events.store import EventStore
from libs.models.sequences.recurrent import item_table
from libs.models.sequences.step import Features


class MeanOfHistory(nn.Module):
    """The item vectors alone: a person is the mean of the items met so far. This is what is served."""

    penalty_weights: Mapping[str, float] = MappingProxyType({})

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.items = item_table(num_items, width)

    @property
    def item_vectors(self) -> Tensor:
        """What features are multiplied with, [num_items + 1, d]."""
        return self.items.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features [B, n, d] of ids [B, n], one a position."""
        place = torch.arange(items.shape[1], device=items.device)
        share = (place <= place.unsqueeze(1)) / (place.unsqueeze(1) + 1)  # [n, n]
        vectors = self.items(items)
        return Features(share.to(vectors.dtype) @ vectors)


class BprMf(nn.Module):
    """Users and items as vectors.

    Args:
        history: holds the item vectors, and is for users who are not known.
        known: which users have a vector of their own, bool [num_users + 1]; 0 is the unknown user.
    """

    known: Tensor
    penalty_weights: Mapping[str, float] = MappingProxyType({})

    def __init__(self, history: MeanOfHistory, known: Tensor) -> None:
        super().__init__()
        self.history = history
        self.users = item_table(len(known) - 1, history.item_vectors.shape[1])
        self.register_buffer("known", known)

    @property
    def item_vectors(self) -> Tensor:
        """What features are multiplied with, [num_items + 1, d]."""
        return self.history.item_vectors

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features [B, n, d]: the user's vector at every position, for unknown users the mean of the history."""
        own = self.users(users).unsqueeze(1).expand(-1, items.shape[1], -1)
        known = self.known[users]
        if self.training and bool(known.all()):
            return Features(own)
        return Features(torch.where(known[:, None, None], own, self.history.encode(items, lengths, users).features))


def users_with_training(events: EventStore) -> Tensor:
    """Users with a training target, which takes two events, counted from 1: bool [num_users + 1]."""
    known = np.asarray(events.ends[:, 0]) > np.asarray(events.offsets[:-1]) + 1
    return torch.from_numpy(np.concatenate([[False], known]))
