"""RKSA, relation-aware kernelised self-attention (Ji et al., AAAI 2020, arXiv 1911.06478), our reconstruction.

SASRec's blocks, whose attention logits are a skew-normal variable: correlated between items that go together, spread
as the query sees fit, skewed towards items that co-occur. No public code exists; what the paper leaves open is named
in docs/methods/rksa.md. With `relations` empty it is SASRec (Kang and McAuley, ICDM 2018). Item 0 is padding, user 0
the unknown user.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.rksa.attention import (
    Correlation,
    Dense,
    FixedNoise,
    LowRank,
    Noise,
    attend,
    mean_logits,
    sample_logits,
)
from libs.models.rksa.config import Activation, Form, Mixture, NoisePer, Places, Relation
from libs.models.rksa.kernels import mixed_factor, unit_rows

_ACTIVATIONS = {"identity": nn.Identity, "softplus": nn.Softplus, "relu": nn.ReLU}


@dataclass(frozen=True, slots=True)
class PairData:
    """What the training set knows of the items of sequences; the loader computes it, without the user's own share.

    Attributes:
        factors: rows of the co-occurrence kernel's factor, [B, n, R], norms at most 1; zero for padding.
        shape: `libs.models.rksa.shape.cooccurrence_shape` of the counts, [B, n, n].
        kernel: the co-occurrence kernel itself, [B, n, n], which the dense form reads in place of the factors.
    """

    factors: Tensor
    shape: Tensor
    kernel: Tensor | None = None


@dataclass(frozen=True, slots=True)
class RelationSettings:
    """Which parts of the latent logits there are.

    Attributes:
        relations: kernels in the mixture; none makes plain attention.
        mixture: `user` lets the weights depend on the user, `fixed` learns one set.
        form: `low-rank` reads factors of the kernels, `dense` the co-occurrence kernel itself.
        skew: off leaves a Gaussian.
        activation: f of the paper, of the location and the shape.
        start_scale: w0 in omega = softplus(w0 + q . k); 0 is the paper's form and starts at 0.69, -1.1 at 0.29.
        noise: `row` draws afresh for each row, `sequence` once.
        rank: width of the item and user factors.
        cooccurrence_rank: width of the co-occurrence factors.
        samples: outside training, the attention is a mean over so many fixed draws; 0: that of the mean logits.
    """

    relations: tuple[Relation, ...] = ("cooccurrence", "item", "user")
    mixture: Mixture = "user"
    form: Form = "low-rank"
    skew: bool = True
    activation: Activation = "identity"
    start_scale: float = -1.1
    noise: NoisePer = "row"
    rank: int = 16
    cooccurrence_rank: int = 64
    samples: int = 0

    @property
    def factor_columns(self) -> int:
        """R: columns of all factors."""
        return sum(self.cooccurrence_rank if relation == "cooccurrence" else self.rank for relation in self.relations)


class Kernels(nn.Module):
    """The correlation between the items of a sequence: a mixture of kernels that depends on the user."""

    def __init__(self, settings: RelationSettings, item_dim: int, num_users: int) -> None:
        super().__init__()
        self.settings = settings
        self.users: nn.Embedding | None = None
        if settings.mixture == "user" or "user" in settings.relations:
            self.users = nn.Embedding(num_users + 1, item_dim)
            nn.init.normal_(self.users.weight, std=0.02)
        self.start = nn.Parameter(torch.zeros(len(settings.relations)))
        self.of_user = (
            nn.Parameter(torch.zeros(len(settings.relations), item_dim)) if settings.mixture == "user" else None
        )
        self.projections = nn.ModuleDict(
            {
                relation: nn.Linear(item_dim, settings.rank, bias=False)
                for relation in settings.relations
                if relation != "cooccurrence"
            }
        )

    def weights(self, users: Tensor) -> Tensor:
        """Mixture r of each user, [B, relations]; equal at the start."""
        if self.of_user is None or self.users is None:
            return torch.softmax(self.start, -1).expand(users.shape[0], -1)
        return torch.softmax(self.start + self.users(users) @ self.of_user.T, -1)

    def factors(self, embedded: Tensor, users: Tensor, pairs: PairData) -> dict[Relation, Tensor]:
        """Factor of each kernel over the items [B, n, d] of sequences, rows of norm at most 1.

        The user's view of an item is its embedding, scaled by 1 + the user's row: at the start all users see alike.
        """
        built: dict[Relation, Tensor] = {}
        for relation in self.settings.relations:
            if relation == "cooccurrence":
                built[relation] = pairs.factors
                continue
            seen = embedded
            if relation == "user":
                assert self.users is not None
                seen = embedded * (1 + self.users(users)).unsqueeze(1)
            built[relation] = unit_rows(self.projections[relation](seen))
        return built

    def forward(self, embedded: Tensor, users: Tensor, pairs: PairData) -> Correlation:
        """Correlation of the items [B, n, d] of sequences."""
        if self.settings.form == "low-rank":
            factors = self.factors(embedded, users, pairs)
            return LowRank(mixed_factor(self.weights(users), list(factors.values())))
        mixed = self.shares(embedded, users, pairs).sum(1)
        return Dense(torch.where(torch.eye(mixed.shape[-1], dtype=torch.bool, device=mixed.device), 1.0, mixed))

    def shares(self, embedded: Tensor, users: Tensor, pairs: PairData) -> Tensor:
        """r_m k_m, each relation's share of the correlation off its diagonal, [B, relations, n, n]."""
        factors = self.factors(embedded, users, pairs)
        kernels = [factor @ factor.transpose(-1, -2) for factor in factors.values()]
        if self.settings.form == "dense" and "cooccurrence" in factors:
            assert pairs.kernel is not None
            kernels[self.settings.relations.index("cooccurrence")] = pairs.kernel
        return self.weights(users)[..., None, None] * torch.stack(kernels, 1)


@dataclass(frozen=True, slots=True)
class Latent:
    """The latent logits of one block.

    Attributes:
        location: xi [B, n, n]. scale: omega, likewise. shape: alpha, likewise.
    """

    location: Tensor
    scale: Tensor
    shape: Tensor


class Attention(nn.Module):
    """One head of self-attention, plain or with latent logits."""

    def __init__(self, width: int, settings: RelationSettings, dropout: float, max_length: int) -> None:
        super().__init__()
        self.settings = settings
        self.activation = _ACTIVATIONS[settings.activation]()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        latent = bool(settings.relations)
        self.scale_query, self.scale_key = (nn.Linear(width, width, bias=False) if latent else None for _ in range(2))
        skewed = latent and settings.skew
        self.shape_query, self.shape_key = (nn.Linear(width, width, bias=False) if skewed else None for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.draws: FixedNoise | None = None
        if latent and settings.samples:
            rows = max_length if settings.noise == "row" else 1
            self.draws = FixedNoise(settings.samples, rows, max_length, settings.factor_columns)
        for module in (self.scale_query, self.scale_key):
            if module is not None:  # small, so that the start bias decides the first spread
                nn.init.normal_(module.weight, std=0.02)

    def forward(
        self, queries: Tensor, inputs: Tensor, latent: Latent | None = None, correlation: Correlation | None = None
    ) -> Tensor:
        """Read [B, n, d] for queries [B, n, d] over inputs [B, n, d], causally; a sample in training, else the mean."""
        if latent is None or correlation is None:
            probability = self.dropout.p if self.training else 0.0
            asked = (self.query(queries), self.key(inputs), self.value(inputs))
            query, key, value = (part.unsqueeze(1) for part in asked)  # the exporter knows four dimensions only
            return F.scaled_dot_product_attention(query, key, value, dropout_p=probability, is_causal=True).squeeze(1)
        weights = self.weights(latent, correlation)
        read: Tensor = self.dropout(weights) @ self.value(inputs)
        return read

    def weights(self, latent: Latent, correlation: Correlation) -> Tensor:
        """Attention [B, n, n]: of one draw in training, else of the mean logits or a mean over the fixed draws."""
        parameters = (latent.location, latent.scale, latent.shape)
        length = latent.location.shape[-1]
        if self.training:
            noise = correlation.noise(length if self.settings.noise == "row" else 1)
            return attend(sample_logits(*parameters, correlation, noise))
        if self.draws is None:
            return attend(mean_logits(*parameters, correlation))
        return sampled_attention(parameters, correlation, self.draws.draws(length))

    def latent(self, queries: Tensor, inputs: Tensor, pairs: PairData) -> Latent:
        """Of every row."""
        assert self.scale_query is not None
        assert self.scale_key is not None
        location = self.activation(_products(self.query(queries), self.key(inputs)))
        scale = F.softplus(self.settings.start_scale + _products(self.scale_query(queries), self.scale_key(inputs)))
        if self.shape_query is None or self.shape_key is None:
            return Latent(location, scale, torch.zeros_like(location))
        steered = self.activation(_products(self.shape_query(queries), self.shape_key(inputs)))
        return Latent(location, scale, steered * pairs.shape)


def sampled_attention(
    parameters: tuple[Tensor, Tensor, Tensor], correlation: Correlation, draws: Sequence[Noise]
) -> Tensor:
    """Mean of the attention over draws of the logits, [B, n, n]."""
    drawn = [attend(sample_logits(*parameters, correlation, noise)) for noise in draws]
    return torch.stack(drawn).mean(0)


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])


class Block(nn.Module):
    """Attention and a position-wise network, as in SASRec: the residual of the attention is the normalised query."""

    def __init__(self, width: int, settings: RelationSettings, dropout: float, max_length: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-8)
        self.attention = Attention(width, settings, dropout, max_length)
        self.network_norm = nn.LayerNorm(width, eps=1e-8)
        self.network = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, width), nn.Dropout(dropout)
        )

    def forward(
        self, x: Tensor, correlation: Correlation | None, pairs: PairData | None
    ) -> tuple[Tensor, Latent | None]:
        """[B, n, d] to [B, n, d], and the latent logits by which it attended."""
        queries = self.attention_norm(x)
        latent = None if correlation is None or pairs is None else self.attention.latent(queries, x, pairs)
        attended = self.network_norm(queries + self.attention(queries, x, latent, correlation))
        result: Tensor = attended + self.network(attended)
        return result, latent


@dataclass(frozen=True, slots=True)
class Read:
    """What a network made of sequences.

    Attributes:
        features: [B, n, d].
        correlation: between the items; None for plain SASRec.
        latents: the latent logits of each block; none for plain SASRec.
    """

    features: Tensor
    correlation: Correlation | None
    latents: Sequence[Latent]


class RKSA(nn.Module):
    """The network over right-padded sequences.

    Args:
        num_items: items without padding. num_users: users without the unknown one.
        max_length: most items of a sequence.
        places: the item that positions count from; `last` gives a sequence's last one the table's last row.

    Example:
        >>> network = RKSA(1000, 50)
        >>> pairs = PairData(factors=torch.zeros(1, 3, 64), shape=torch.zeros(1, 3, 3))
        >>> features = network(torch.tensor([[3, 7, 2]]), torch.tensor([0]), pairs)  # [B, n, d]
        >>> (features @ network.items.weight.T).shape  # scores of the next item
        torch.Size([1, 3, 1001])
    """

    def __init__(
        self,
        num_items: int,
        num_users: int,
        width: int = 64,
        *,
        max_length: int = 50,
        blocks: int = 2,
        dropout: float = 0.2,
        places: Places = "first",
        settings: RelationSettings | None = None,
    ) -> None:
        super().__init__()
        settings = settings or RelationSettings()
        self.places = places
        self.items = nn.Embedding(num_items + 1, width, padding_idx=0)
        self.positions = nn.Embedding(max_length, width)
        for table in (self.items, self.positions):
            nn.init.xavier_normal_(table.weight)
        with torch.no_grad():
            self.items.weight[0] = 0
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, settings, dropout, max_length) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=1e-8)
        self.kernels = Kernels(settings, width, num_users) if settings.relations else None

    def forward(self, items: Tensor, users: Tensor, pairs: PairData | None = None) -> Tensor:
        """Features [B, n, d], one a position; those of padding mean nothing.

        Args:
            items: ids [B, n], right-padded with 0.
            users: ids [B], 0 for unknown.
            pairs: of the sequences; needed unless the network is plain SASRec.
        """
        return self.read(items, users, pairs).features

    def read(self, items: Tensor, users: Tensor, pairs: PairData | None = None) -> Read:
        """Features, and what the network saw on the way; arguments as of `forward`."""
        x, correlation = self.inputs(items), self.correlation(items, users, pairs)
        latents = []
        for block in self.blocks:
            x, latent = block(x, correlation, pairs)
            latents.append(latent)
        return Read(self.norm(x), correlation, [latent for latent in latents if latent is not None])

    def inputs(self, items: Tensor) -> Tensor:
        """What the first block reads of ids [B, n], [B, n, d]."""
        embedded = self.items(items)
        inputs: Tensor = self.dropout(embedded * math.sqrt(embedded.shape[-1]) + self.positions(self.places_of(items)))
        return inputs

    def places_of(self, items: Tensor) -> Tensor:
        """Rows of the position table for ids [B, n]: [n], or [B, n] where they count from each row's last item."""
        places = torch.arange(items.shape[1], device=items.device)
        if self.places == "first":
            return places
        most = self.positions.num_embeddings
        ahead = most - (items > 0).sum(1, keepdim=True)
        return (ahead + places).clamp_max(most - 1)  # those of padding mean nothing

    def correlation(self, items: Tensor, users: Tensor, pairs: PairData | None) -> Correlation | None:
        """Of the items of sequences; None for plain SASRec."""
        if self.kernels is None:
            return None
        if pairs is None:
            raise ValueError("This network has relations between items: give it their pair data.")
        found: Correlation = self.kernels(self.items(items), users, pairs)
        return found
