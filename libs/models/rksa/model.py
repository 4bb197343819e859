"""RKSA and SASRec as next-item models that the shared training takes."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.events.relations import RelationTables
from libs.models.rksa.attention import skewness
from libs.models.rksa.divergence import row_divergence
from libs.models.rksa.ends import RksaEnds, SasrecEnds
from libs.models.rksa.kernels import cooccurrence_cosine
from libs.models.rksa.network import RKSA, Kernels, PairData, Read
from libs.models.rksa.shape import cooccurrence_shape
from libs.models.sequences.ends import EndReader
from libs.models.sequences.step import Features

_DOMINANT = 0.95


class SasrecModel(nn.Module):
    """The network without relations; users do not matter."""

    penalty_weights: Mapping[str, float] = {}

    def __init__(self, network: RKSA) -> None:
        super().__init__()
        self.network = network

    @property
    def item_vectors(self) -> Tensor:
        """The item table, tied."""
        return self.network.items.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features at every position."""
        return Features(self.network(items, users))

    def ends(self) -> EndReader:
        """`SasrecEnds` of the weights of now."""
        return SasrecEnds(self.network)


class RksaModel(nn.Module):
    """The network, and the data of pairs of items that it reads.

    Args:
        tables: counts and factors of the training users.
        kernel_loss: weight of the loss that fits the learned kernels to the co-occurrence kernel.
        latent_divergence: weight of the divergence of the logits from independent ones of spread `prior_scale`.
        unknown_user: share of the rows whose user is hidden in training.
        kernel_lr_factor: learning rate of kernels, mixture and shape as a multiple of that of the rest.
    """

    def __init__(
        self,
        network: RKSA,
        tables: RelationTables,
        *,
        kernel_loss: float = 0.0,
        latent_divergence: float = 0.0,
        prior_scale: float = 0.3,
        unknown_user: float = 0.1,
        kernel_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.network, self.tables = network, tables
        self.unknown_user, self.prior_scale = unknown_user, prior_scale
        self.penalty_weights: Mapping[str, float] = {
            "kernel_fit": kernel_loss,
            "latent_divergence": latent_divergence,
        }
        self.lr_factors: Mapping[str, float] = {
            "network.kernels.*": kernel_lr_factor,
            "network.blocks.*.attention.shape_*": kernel_lr_factor,
        }

    @property
    def kernels(self) -> Kernels:
        """The mixture of kernels."""
        assert self.network.kernels is not None
        return self.network.kernels

    @property
    def item_vectors(self) -> Tensor:
        """The item table, tied."""
        return self.network.items.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features at every position, and in training the penalties that have a weight.

        Some users are hidden in training; what they did is left out of the counts all the same. Users whose rows were
        never trained are always the unknown one, as when the model is served.
        """
        wanted = [name for name, weight in self.penalty_weights.items() if self.training and weight > 0]
        pairs = self.pairs_of(items, users, with_kernel="kernel_fit" in wanted)
        users = self.known(users)
        if self.training:
            hidden = torch.rand(users.shape, device=users.device) < self.unknown_user
            users = torch.where(hidden, 0, users)
        read = self.network.read(items, users, pairs)
        penalties = {}
        if "kernel_fit" in wanted:
            penalties["kernel_fit"] = self._kernel_fit(items, users, pairs)
        if "latent_divergence" in wanted:
            penalties["latent_divergence"] = self._latent_divergence(read, lengths)
        return Features(read.features, penalties)

    def known(self, users: Tensor) -> Tensor:
        """`RelationTables.known` of users [B]."""
        return torch.from_numpy(self.tables.known(users.cpu().numpy())).to(users.device)

    def pairs_of(self, items: Tensor, users: Tensor, *, with_kernel: bool = False) -> PairData:
        """What the training users' events say of the pairs of sequences; data without a gradient."""
        ids, owners = items.cpu().numpy(), users.cpu().numpy()
        arrays = (*self.tables.counts_of(ids, owners), self.tables.factors_of(ids, owners))
        together, alone, factors = (torch.from_numpy(array).to(self.item_vectors) for array in arrays)
        wanted = with_kernel or self.kernels.settings.form == "dense"
        kernel = cooccurrence_cosine(together, alone) if wanted else None
        return PairData(factors, cooccurrence_shape(together, items), kernel)

    def _kernel_fit(self, items: Tensor, users: Tensor, pairs: PairData) -> Tensor:
        """Mean over pairs of different items of sum_m (k_m - k_c)^2, m of the learned kernels.

        The mixture has no part in it, or all weight on k_c would be the best fit.
        """
        assert pairs.kernel is not None
        factors = self.kernels.factors(self.network.items(items), users, pairs)
        real = items > 0
        counted = real.unsqueeze(2) & real.unsqueeze(1) & (items.unsqueeze(2) != items.unsqueeze(1))
        learned = [factor for relation, factor in factors.items() if relation != "cooccurrence"]
        errors = [(factor @ factor.transpose(1, 2) - pairs.kernel).square() for factor in learned]
        return (torch.stack(errors).sum(0) * counted).sum() / counted.sum().clamp_min(1)

    def _latent_divergence(self, read: Read, lengths: Tensor) -> Tensor:
        """Mean over rows and blocks of `row_divergence`, in nats a key."""
        assert read.correlation is not None
        with torch.autocast(read.features.device.type, enabled=False):
            correlation = read.correlation.matrix()
            rows = torch.stack(
                [row_divergence(part.scale, part.shape, correlation, self.prior_scale) for part in read.latents]
            )
        keys = torch.arange(1, rows.shape[-1] + 1, device=rows.device)
        real = keys <= lengths.unsqueeze(1)
        return (rows / keys * real).sum() / (real.sum() * len(rows))

    def ends(self) -> EndReader:
        """`RksaEnds` of the weights of now."""
        return RksaEnds(self.network, self.pairs_of, self.known)

    @torch.no_grad()
    def observe(self, items: Tensor, lengths: Tensor, users: Tensor) -> dict[str, float]:
        """Whether the relations mean anything: median omega and |delta| in each block, and how users mix the kernels.

        A spread near 0 is SASRec with a detour; a mixture that is one kernel for nearly everybody explains nobody.
        """
        pairs, users = self.pairs_of(items, users), self.known(users)
        read = self.network.read(items, users, pairs)
        assert read.correlation is not None
        real = torch.ones(items.shape[1], items.shape[1], dtype=torch.bool, device=items.device).tril()
        real = real & (items > 0).unsqueeze(2)
        figures = {}
        for number, latent in enumerate(read.latents):
            delta, _ = skewness(read.correlation, latent.shape)
            figures[f"rksa/omega_median_{number}"] = float(latent.scale[real].median())
            figures[f"rksa/delta_median_{number}"] = float(delta[real].abs().median())
        return figures | self.mixture_figures(users.device)

    @torch.no_grad()
    def mixtures(self, device: torch.device) -> Tensor:
        """How each user whose row is trained mixes the kernels, [users, relations]; the unknown one if none is."""
        trained = np.unique(self.tables.known(np.arange(len(self.tables.folds))))
        return self.kernels.weights(torch.from_numpy(trained[1:] if len(trained) > 1 else trained).to(device))

    def mixture_figures(self, device: torch.device) -> dict[str, float]:
        """Mean weight of each relation over `mixtures`, its mean entropy in nats, and users with one relation alone."""
        weights, names = self.mixtures(device), self.kernels.settings.relations
        figures = {f"rksa/mixture_{name}": float(share) for name, share in zip(names, weights.mean(0), strict=True)}
        figures["rksa/mixture_entropy_nats"] = float(torch.special.entr(weights).sum(1).mean())
        figures["rksa/one_relation_users"] = float((weights.amax(1) > _DOMINANT).float().mean())
        return figures
