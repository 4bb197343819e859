"""RecBole's part of `benchmarks.recommendation.recbole`, run by RecBole's own interpreter: imports nothing of Octavo.

Reads one JSON object a line and answers each with one. RecBole's own data, model, trainer and evaluator do the work;
only the loop over a fixed number of batches is here, and it does what the trainer's does.
"""

import functools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, TextIO

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

_METRIC = "ndcg@10"


class _BudgetSpent(Exception):
    """The CPU time that a fit may take is over."""


class Side:
    """One model of RecBole on one data set."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        # A file that RecBole's trainer wrote a moment ago holds more than weights, and torch >= 2.6 refuses it.
        torch.load = functools.partial(torch.load, weights_only=False)
        self.config = Config(model=wanted["model"], dataset=wanted["dataset"], config_dict=wanted["settings"])
        init_seed(self.config["seed"], self.config["reproducibility"])
        self.dataset = create_dataset(self.config)
        self.train_data, self.val_data, self.test_data = data_preparation(self.config, self.dataset)
        self.model, self.trainer = self._fresh()
        self._batches = self._endless()

    def _fresh(self) -> tuple[Any, Any]:
        init_seed(self.config["seed"], self.config["reproducibility"])
        model = get_model(self.config["model"])(self.config, self.train_data.dataset).to(self.config["device"])
        return model, get_trainer(self.config["MODEL_TYPE"], self.config["model"])(self.config, model)

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.train_data

    def facts(self) -> dict[str, Any]:
        """What is trained on, and the held-out item of each user of both splits, by the tokens of the file."""
        return {
            "users": self.dataset.user_num - 1,  # without padding
            "items": self.dataset.item_num - 1,
            "train_targets": len(self.train_data.dataset),
            "parameters": sum(one.numel() for one in self.model.parameters()),
            "val": self._held_out(self.val_data.dataset),
            "test": self._held_out(self.test_data.dataset),
            "torch": torch.__version__,
        }

    def _held_out(self, dataset: Any) -> dict[str, str]:
        rows, user, item = dataset.inter_feat, dataset.uid_field, dataset.iid_field
        users = dataset.id2token(user, rows[user].numpy())
        return dict(zip(users.tolist(), dataset.id2token(item, rows[item].numpy()).tolist(), strict=True))

    def train(self, batches: int) -> dict[str, float]:
        """Some batches; each prefix is a target."""
        self.model.train()
        began, targets = time.process_time(), 0
        for _ in range(batches):
            batch = next(self._batches)
            self.trainer.optimizer.zero_grad()
            loss = self.model.calculate_loss(batch)
            loss.backward()
            self.trainer.optimizer.step()
            targets += len(batch)
        return {"targets": targets, "cpu_s": time.process_time() - began}

    def evaluate(self) -> dict[str, float]:
        """The test users over the full ranking, with the weights of now."""
        began = time.process_time()
        found = self.trainer.evaluate(self.test_data, load_best_model=False)
        return {"users": len(self.test_data.dataset), "cpu_s": time.process_time() - began, "ndcg": found[_METRIC]}

    def fit(self, cpu_s: float) -> dict[str, Any]:
        """From fresh weights until early stopping or `cpu_s` ends it; then the best weights on the test users."""
        self.model, self.trainer = self._fresh()
        course: list[tuple[float, float]] = []
        began = time.process_time()

        def after_epoch(epoch: int, score: float) -> None:  # called after the best weights are saved
            spent_s = time.process_time() - began
            course.append((spent_s, score))
            print(f"RecBole epoch {epoch}: {spent_s:.0f} CPU s, {_METRIC} {score:.4f}", file=sys.stderr, flush=True)
            if spent_s >= cpu_s:
                raise _BudgetSpent

        try:
            self.trainer.fit(self.train_data, self.val_data, saved=True, show_progress=False, callback_fn=after_epoch)
            ended_by = "early stopping"
        except _BudgetSpent:
            ended_by = "budget"
        test = self.trainer.evaluate(self.test_data, load_best_model=True)
        return {
            "course": course,
            "val": max(score for _, score in course),
            "test": test[_METRIC],
            "ended_by": ended_by,
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end; the first one says which model on which data."""
    side = Side(json.loads(next(requests)))
    calls = {"facts": side.facts, "train": side.train, "evaluate": side.evaluate, "fit": side.fit}
    for line in requests:
        call = json.loads(line)
        answers.write(json.dumps(calls[call.pop("do")](**call)) + "\n")
        answers.flush()


def main() -> None:
    """Keep the real standard output for answers: RecBole prints and logs, and leaves files where it is run."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers, tempfile.TemporaryDirectory() as scratch:
        os.dup2(2, 1)
        os.chdir(scratch)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
