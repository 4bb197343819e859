"""The hierarchical cell: a slow local context over the global ones, and a fast temporary context that it steers.

Song et al., AAAI 2019. The three versions differ in how the local context c enters the reset of the temporary
context h:

    1   r = sigma([e; h-] Wr + c- Wr_c + br)
    2   r = sigma([e; h-] Wr + (e * c) Wd + br)                    Wd >= 0
    3   r = sigma([e; h-] Wr + br),  D = sigma((e * c) Wd + bd)     Wd >= 0: the interest-drift gate
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.hcrnn.context_scores import context_scores

Version = Literal[1, 2, 3]
DriftConstraint = Literal["clip", "softplus"]
_LEAST_DRIFT_WEIGHT = 1e-12


@dataclass(frozen=True, slots=True)
class CellStates:
    """What the cell went through; zero behind a row's end.

    Attributes:
        temporary: h [B, n, H].
        local: c [B, n, d].
        reset: r [B, n, H], 0 to 1.
        drift: D [B, n, H], 0 to 1, in version 3; all ones otherwise. Small where an item disagrees with c.
        topic_weights: attention over the global contexts, [B, n, K].
    """

    temporary: Tensor
    local: Tensor
    reset: Tensor
    drift: Tensor
    topic_weights: Tensor


class PositiveLinear(nn.Module):
    """x W' + b with W = softplus(raw), above 0 whatever the optimiser does. Its weights have no `weight` to mistake."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @torch.no_grad()
    def start_at(self, weight: Tensor) -> None:
        """Set W [outputs, inputs], all above 0."""
        self.raw.copy_(weight + torch.log(-torch.expm1(-weight)))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        return F.linear(x, F.softplus(self.raw), self.bias)


class HierarchicalCell(nn.Module):
    """One layer of HCRNN, over a whole batch or event by event.

    What does not depend on the previous state is computed for all steps at once, which is exact: the projections of the
    inputs, and M Wa_topic, as theta_k M_k Wa_topic only scales it. What does depend on it is one product a step.

    Args:
        item_dim: d, width of items, of the global contexts and of the local context.
        hidden_dim: H, width of the temporary context.
        drift_constraint: how Wd stays positive. `clip`: as published, clipped after each step (`project`);
            `softplus`: as a function of free weights.
    """

    def __init__(
        self, item_dim: int, hidden_dim: int, version: Version = 3, drift_constraint: DriftConstraint = "clip"
    ) -> None:
        super().__init__()
        self.item_dim, self.hidden_dim, self.version = item_dim, hidden_dim, version
        # Columns: local gate, reset, candidate, update.
        self.from_input = nn.Linear(item_dim, item_dim + 3 * hidden_dim)
        # Columns: context attention, local gate, reset, update.
        self.from_temporary = nn.Linear(hidden_dim, item_dim + 3 * hidden_dim, bias=False)
        self.topic_key = nn.Linear(item_dim, hidden_dim, bias=False)
        self.topic_score = nn.Parameter(torch.empty(hidden_dim))
        self.gate_from_local = nn.Linear(item_dim, item_dim, bias=False)
        self.update_from_local = nn.Linear(item_dim, hidden_dim, bias=False)
        self.candidate_from_temporary = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.reset_from_local = nn.Linear(item_dim, hidden_dim, bias=False) if version == 1 else None
        self.drift: nn.Linear | PositiveLinear | None = None
        if version != 1:
            kind = nn.Linear if drift_constraint == "clip" else PositiveLinear
            self.drift = kind(item_dim, hidden_dim, bias=version == 3)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot for each of the stacked matrices by itself, biases 0, the drift matrix positive."""
        d, h = self.item_dim, self.hidden_dim
        with torch.no_grad():
            for block in (
                *self.from_input.weight.split_with_sizes([d, h, h, h]),
                *self.from_temporary.weight.split_with_sizes([h, d, h, h]),
            ):
                nn.init.xavier_uniform_(block)
            for module in self.children():
                if isinstance(module, nn.Linear) and module not in (self.from_input, self.from_temporary):
                    nn.init.xavier_uniform_(module.weight)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    module.bias.zero_()
            nn.init.xavier_uniform_(self.topic_score.unsqueeze(0))
            if isinstance(self.drift, nn.Linear):
                self.drift.weight.abs_()
            elif self.drift is not None:
                start = nn.init.xavier_uniform_(torch.empty_like(self.drift.raw)).abs_()
                self.drift.start_at(start.clamp_(min=_LEAST_DRIFT_WEIGHT))

    @torch.no_grad()
    def project(self) -> None:
        """Clip the drift matrix to positive values: agreement may only open the gate. Call after each step."""
        if isinstance(self.drift, nn.Linear):
            self.drift.weight.clamp_(min=_LEAST_DRIFT_WEIGHT)

    def forward(
        self,
        embedded: Tensor,
        lengths: Tensor,
        theta: Tensor,
        contexts: Tensor,
        start: tuple[Tensor, Tensor] | None = None,
    ) -> CellStates:
        """Run over right-padded sequences.

        Args:
            embedded: e [B, n, d].
            lengths: [B], 0 to n.
            theta: [B, 1, K] for one mixture a sequence, [B, n, K] for one a position.
            contexts: M [K, d].
            start: h [B, H] and c [B, d] before the first step; zeros when left out.
        """
        rows, steps, _ = embedded.shape
        keys = self.topic_key(contexts)
        alive = (torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)).unsqueeze(-1)
        h, c = start or (embedded.new_zeros(rows, self.hidden_dim), embedded.new_zeros(rows, self.item_dim))
        if torch.compiler.is_exporting():
            return self._scanned(embedded, theta, alive, keys, contexts, h, c)
        inputs = self.from_input(embedded).unbind(1)
        outputs = []
        for t, x in enumerate(inputs):
            step = self.step(embedded[:, t], x, theta[:, t if theta.shape[1] > 1 else 0], keys, contexts, h, c)
            h, c = (torch.where(alive[:, t], new, old) for new, old in zip(step[:2], (h, c), strict=True))
            outputs.append(step)
        stacked = [torch.stack(parts, 1) * alive for parts in zip(*outputs, strict=True)]
        return CellStates(*stacked)

    def _scanned(
        self, embedded: Tensor, theta: Tensor, alive: Tensor, keys: Tensor, contexts: Tensor, h: Tensor, c: Tensor
    ) -> CellStates:
        """The loop as one operator, for graphs whose number of steps is free."""
        from torch._higher_order_ops.scan import scan

        def step(state: tuple[Tensor, ...], now: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            e, x, mixture, real = now
            made = self.step(e, x, mixture, keys, contexts, *state)
            kept = tuple(torch.where(real, new, old) for new, old in zip(made[:2], state, strict=True))
            return kept, tuple(part * real for part in made)

        inputs = (embedded, self.from_input(embedded), theta.expand(-1, embedded.shape[1], -1), alive)
        _, outputs = scan(step, (h, c), tuple(part.transpose(0, 1) for part in inputs))
        return CellStates(*(part.transpose(0, 1) for part in outputs))

    def step(
        self, e: Tensor, x: Tensor, theta: Tensor, keys: Tensor, contexts: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, ...]:
        """One event: h, c, reset, drift and topic weights after it.

        Args:
            e: [B, d]. x: `from_input` of it. theta: [B, K]. keys: `topic_key` of the contexts, [K, H].
            contexts: M [K, d]. h: [B, H], c: [B, d], before it.
        """
        d, width = self.item_dim, self.hidden_dim
        x_gate, x_reset, x_candidate, x_update = x.split_with_sizes([d, width, width, width], -1)
        h_topic, h_gate, h_reset, h_update = self.from_temporary(h).split_with_sizes([width, d, width, width], -1)
        topic_weights = torch.softmax(context_scores(theta, keys, h_topic, self.topic_score), -1)
        gate = torch.sigmoid(x_gate + h_gate + self.gate_from_local(c))
        local = torch.lerp(c, topic_weights @ contexts, gate)
        reset, drift = self._reset(e, x_reset + h_reset, c, local)
        candidate = torch.tanh(x_candidate + self.candidate_from_temporary(reset * drift * h))
        update = torch.sigmoid(x_update + h_update + self.update_from_local(local))
        return torch.lerp(h, candidate, update), local, reset, drift, topic_weights

    def _reset(self, e: Tensor, logits: Tensor, old_local: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        if self.reset_from_local is not None:
            return torch.sigmoid(logits + self.reset_from_local(old_local)), torch.ones_like(logits)
        assert self.drift is not None
        agreement = self.drift(e * local)
        if self.version == 2:
            return torch.sigmoid(logits + agreement), torch.ones_like(logits)
        return torch.sigmoid(logits), torch.sigmoid(agreement)
