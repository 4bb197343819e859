"""The topic encoder of HCRNN: which of the K global contexts a sequence is about."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_DEVIATION = 1e-6


class TopicEncoder(nn.Module):
    """Amortised Gaussian-softmax posterior of the topic mixture theta, from the bag of a sequence's items.

    g = ELU(u We + be); mu = g Wmu + bmu; s = 1e-6 + softplus(g Wsd + bsd); theta = softmax(mu + s * eps),
    without the noise in evaluation.

    Args:
        item_dim: d, width of an item's embedding and of g.
        num_topics: K.
    """

    def __init__(self, item_dim: int, num_topics: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(item_dim, item_dim)
        self.location = nn.Linear(item_dim, num_topics)
        self.deviation = nn.Linear(item_dim, num_topics)

    def forward(self, bag: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mixtures and their divergence from the prior.

        Args:
            bag: u [..., d], sum of the embeddings of the distinct items seen.
            noise: eps, standard normal, broadcast against [..., K]; None takes the mode.

        Returns:
            theta [..., K], rows summing to 1, and KL(N(mu, s) || N(0, I)) [...] in nats.
        """
        hidden = F.elu(self.hidden(bag))
        location = self.location(hidden)
        deviation = _LEAST_DEVIATION + F.softplus(self.deviation(hidden))
        sample = location if noise is None else location + deviation * noise
        return torch.softmax(sample, -1), standard_normal_divergence(location, deviation)

    def mode(self, bag: Tensor) -> Tensor:
        """theta without noise alone, [..., K]: what `forward` gives in evaluation, without the divergence."""
        return torch.softmax(self.location(F.elu(self.hidden(bag))), -1)


def standard_normal_divergence(location: Tensor, deviation: Tensor) -> Tensor:
    """KL of a diagonal Gaussian [..., K] from N(0, I), summed over K."""
    variance = deviation.square()
    return 0.5 * (location.square() + variance - torch.log(1e-8 + variance) - 1).sum(-1)


def running_bags(embedded: Tensor, items: Tensor) -> Tensor:
    """For every position t the sum of the embeddings of the distinct items among the first t.

    Args:
        embedded: [B, n, d], zero where `items` is padding.
        items: ids [B, n], 0 for padding.

    Returns:
        [B, n, d]; the last row is the bag of the whole sequence.
    """
    return (embedded * first_occurrences(items).unsqueeze(-1)).cumsum(1)


def first_occurrences(items: Tensor) -> Tensor:
    """Whether each item [B, n] stands at its first place in the row; padding (0) never does.

    Sorts each row stably, so an item is a first one where its left neighbour in the order differs: n log n, not n^2.
    In a graph, which cannot sort so, each pair is compared.
    """
    if torch.compiler.is_exporting():
        places = torch.arange(items.shape[1], device=items.device)
        same_before = (items.unsqueeze(2) == items.unsqueeze(1)) & (places < places.unsqueeze(1))
        return ~same_before.any(-1) & (items != 0)
    ordered, order = torch.sort(items, dim=1, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.zeros_like(first).scatter(1, order, first) & (items != 0)


def topic_noise(rows: int, num_topics: int, like: Tensor) -> Tensor:
    """One standard-normal draw a sequence, [rows, 1, K]: every position of a sequence shares it."""
    return torch.randn(rows, 1, num_topics, dtype=like.dtype, device=like.device)
