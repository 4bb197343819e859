"""Cost of one HCRNN-3 step (bi-channel): ours against the loop as its formulas are written, and causal against prefix.

B 256, n 20, d = H = 100, K 50, 2,000 items, one CPU thread. CPU (process) time of forward and backward, median of
interleaved rounds. In prefix mode a row is one target; in causal mode every position is. Run:

    python -m benchmarks.recommendation.hcrnn_step --rounds 9 --out benchmarks/results/hcrnn_step.json
"""

import argparse
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.interleaved import Timing, measure
from benchmarks.result_file import write_result
from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.losses import softmax_loss

BATCH, LENGTH, WIDTH, TOPICS, ITEMS = 256, 20, 100, 50, 2000
STEP_LIMIT, TARGETS_LIMIT = 2.2, 5.0


def as_written(model: HCRNN, items: Tensor, targets: Tensor) -> Tensor:
    """The formulas of the method one by one, with a dense one-hot target: what the public graph computes."""
    cell, read = model.cell, model.read_out
    d, h = cell.item_dim, cell.hidden_dim
    x_gate, x_reset, x_candidate, x_update = cell.from_input.weight.split_with_sizes([d, h, h, h])
    b_gate, b_reset, b_candidate, b_update = cell.from_input.bias.split_with_sizes([d, h, h, h])
    h_topic, h_gate, h_reset, h_update = cell.from_temporary.weight.split_with_sizes([h, d, h, h])
    gate, reset, update = (torch.cat(pair, 1) for pair in ((x_gate, h_gate), (x_reset, h_reset), (x_update, h_update)))
    candidate = torch.cat([x_candidate, cell.candidate_from_temporary.weight], 1)
    embedded = model.items(items)
    presence = torch.zeros(len(items), ITEMS + 1).scatter_(1, items, 1.0)
    theta, divergence = model.topics(presence @ model.items.weight, torch.randn(len(items), TOPICS))
    temporary, local = torch.zeros(len(items), h), torch.zeros(len(items), d)
    states, contexts = [], []
    for t in range(items.shape[1]):
        e = embedded[:, t]
        keys = (theta.unsqueeze(-1) * model.contexts) @ cell.topic_key.weight.T
        scores = torch.sigmoid(keys + (temporary @ h_topic.T).unsqueeze(1)) @ cell.topic_score
        read_contexts = torch.softmax(scores, -1) @ model.contexts
        both = torch.cat([e, temporary], 1)
        g = torch.sigmoid(F.linear(both, gate, b_gate) + cell.gate_from_local(local))
        local = (1 - g) * local + g * read_contexts
        r = torch.sigmoid(F.linear(both, reset, b_reset))
        drift = torch.sigmoid(cell.drift(e * local))
        new = torch.tanh(F.linear(torch.cat([e, r * drift * temporary], 1), candidate, b_candidate))
        z = torch.sigmoid(F.linear(both, update, b_update) + cell.update_from_local(local))
        temporary = (1 - z) * temporary + z * new
        states.append(temporary)
        contexts.append(local)
    stacked, all_contexts = torch.stack(states, 1), torch.stack(contexts, 1)
    scores = [
        torch.sigmoid(read.temporary.key(s) + read.temporary.query(temporary)) @ read.temporary.score for s in states
    ]
    read_temporary = (torch.softmax(torch.stack(scores, 1), 1).unsqueeze(1) @ stacked).squeeze(1)
    products = (read.local_key(all_contexts) @ read.local_query(local).unsqueeze(-1)).squeeze(-1) * read.scale
    read_local = (torch.softmax(products, 1).unsqueeze(1) @ stacked).squeeze(1)
    logits = read.to_item(torch.cat([read_local, read_temporary, temporary], 1)) @ model.items.weight.T
    one_hot = F.one_hot(targets, ITEMS + 1).float()
    return -(one_hot * logits.log_softmax(1)).sum(1).mean() + 1e-3 * divergence.mean()


def hoisted(model: HCRNN, items: Tensor, targets: Tensor) -> Tensor:
    encoded = model.encode_prefixes(items, torch.full((len(items),), items.shape[1]))
    return softmax_loss(encoded.features[:, 0], model.items.weight, targets) + 1e-3 * encoded.divergence.mean()


def causal(model: HCRNN, items: Tensor, targets: Tensor) -> Tensor:
    """Targets are the next items, one a position."""
    encoded = model.encode_causally(items, torch.full((len(items),), items.shape[1]))
    following = torch.cat([items[:, 1:], targets.unsqueeze(1)], 1)
    loss = softmax_loss(encoded.features.flatten(0, 1), model.items.weight, following.flatten())
    return loss + 1e-3 * encoded.divergence.mean()


def contestants() -> dict[str, Callable[[], Tensor]]:
    torch.manual_seed(0)
    items, targets = torch.randint(1, ITEMS + 1, (BATCH, LENGTH)), torch.randint(1, ITEMS + 1, (BATCH,))

    def step(loss: Callable[[HCRNN, Tensor, Tensor], Tensor]) -> Callable[[], Tensor]:
        torch.manual_seed(1)
        model = HCRNN(ITEMS, WIDTH, WIDTH, TOPICS, input_dropout=0.0, output_dropout=0.0)

        def run() -> Tensor:
            model.zero_grad(set_to_none=True)
            value = loss(model, items, targets)
            value.backward()
            return value

        return run

    return {"as written": step(as_written), "prefix": step(hoisted), "causal": step(causal)}


def report(timings: dict[str, Timing], rounds: int) -> dict[str, object]:
    print(f"HCRNN-3 bi, B {BATCH}, n {LENGTH}, d {WIDTH}, K {TOPICS}, 1 thread, median of {rounds} rounds\n")
    print(f"{'step':14}{'CPU ms':>9}{'wall ms':>9}")
    for name, timing in timings.items():
        print(f"{name:14}{timing.cpu_median_ms:9.0f}{timing.wall_median_ms:9.0f}")
    figures = {
        "as written / prefix, CPU": (timings["as written"].cpu_median_ms / timings["prefix"].cpu_median_ms, STEP_LIMIT),
        "targets/s, causal / prefix": (
            LENGTH * timings["prefix"].cpu_median_ms / timings["causal"].cpu_median_ms,
            TARGETS_LIMIT,
        ),
    }
    for title, (value, limit) in figures.items():
        print(f"{title:30}{value:7.2f}   at least {limit}: {'met' if value >= limit else 'MISSED'}")
    return {
        "setting": {
            "batch": BATCH,
            "length": LENGTH,
            "width": WIDTH,
            "topics": TOPICS,
            "items": ITEMS,
            "rounds": rounds,
        },
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "timings": {name: asdict(timing) for name, timing in timings.items()},
        "ratios": {title: {"ratio": round(value, 3), "limit": limit} for title, (value, limit) in figures.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = contestants()
    torch.manual_seed(2)
    first = steps["as written"]()
    torch.manual_seed(2)
    second = steps["prefix"]()
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)  # noise is drawn alike: the same loss
    results = report(measure(steps, options.rounds), options.rounds)
    write_result(results, options.out)


if __name__ == "__main__":
    main()
