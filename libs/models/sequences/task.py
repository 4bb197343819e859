"""Training of every next-item model: windows of events through the loop that all trainings share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.errors import DataError
from libs.data.events.store import EventStore
from libs.data.events.windows import Split, batches, read, windows_of
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import ModelScorer, Ranked, RankingMeasurer, tensors_of
from libs.models.sequences.ranking import figures_of
from libs.models.sequences.step import NextItemStep, Observed
from libs.training.loop import Fitted, TrainingLoop
from libs.training.precision import device_of, precision_for
from libs.training.processes import Processes, join_processes
from libs.training.randomness import derived_seed
from libs.training.reporter import Reporter
from libs.training.run import Run
from libs.training.session import Phases, TrainingSession

MONITORED = (10, 20)


FittedSequences = Fitted[Ranked]


class SequenceTask:
    """Windows of events, and how well a model foretells the held-out ones.

    Raises:
        DataError: there is nothing to learn from.
    """

    def __init__(self, events: EventStore, config: SequenceTrainingConfig, run: Run, processes: Processes) -> None:
        self.events, self.config, self.seed, self.device = events, config, run.seed, run.device
        self.processes = processes
        self.precision = precision_for(config.amp, device_of(run.device))
        self.windows = windows_of(events, "train", config.max_length, single_targets=config.single_targets)
        if not len(self.windows):
            raise DataError("No user has two training events, so there is no next item to learn.")
        self.steps_per_epoch = -(-len(self.windows) // config.batch_size)
        self._val = self._measurer("val")

    def step(self, model: nn.Module) -> NextItemStep:
        """A next-item model with its objective over these windows."""
        return NextItemStep(model, self.config, self.windows.num_targets / len(self.windows))

    @property
    def validates(self) -> bool:
        """Whether there is anything to choose weights by."""
        return self._val is not None

    def batches(self, epoch: int, start_batch: int) -> Iterator[tuple[Tensor, ...]]:
        """Inputs [B, n], targets [B, n], lengths [B], users [B] of this process."""
        chosen = batches(self.windows, self.config.batch_size, seed=derived_seed(self.seed, epoch))
        for number, windows in enumerate(chosen):
            if number < start_batch:
                continue
            mine = windows.take(np.arange(self.processes.rank, len(windows), self.processes.count))
            batch = read(self.events, mine if len(mine) else windows.take(np.zeros(1, np.int64)))
            inputs, lengths, users = tensors_of(batch)
            parts = (inputs, batch.targets, lengths, users)
            yield tuple(torch.from_numpy(part).to(self.device) for part in parts)

    def observe(self, module: nn.Module) -> Mapping[str, float]:
        """Figures of the model's own, if it has any, on the first training windows."""
        model = module.get_submodule("model")
        if not isinstance(model, Observed):
            return {}
        first = self.windows.take(np.arange(min(self.config.batch_size, len(self.windows))))
        parts = tensors_of(read(self.events, first))
        with self._scorer(module):
            return model.observe(*(torch.from_numpy(part).to(self.device) for part in parts))

    def evaluate(self, module: nn.Module) -> Mapping[str, float] | None:
        """Figures on the validation split, over the full ranking."""
        if self._val is None:
            return None
        with self._scorer(module) as scorer:
            return figures_of(self._val.ranks(scorer), MONITORED)

    def measure(self, split: Split, module: nn.Module) -> Ranked | None:
        """The model of a step module on a split; None when it holds no target."""
        measurer = self._val if split == "val" else self._measurer(split)
        if measurer is None:
            return None
        with self._scorer(module) as scorer:
            return measurer(scorer)

    def _measurer(self, split: Split) -> RankingMeasurer | None:
        measurer = RankingMeasurer(self.events, split, self.config, self.device)
        return measurer if len(measurer.windows) else None

    @contextmanager
    def _scorer(self, module: nn.Module) -> Iterator[ModelScorer]:
        """The model of a step module, in evaluation mode; its mode is restored."""
        model = module.get_submodule("model")
        was_training = model.training
        yield ModelScorer(model.eval(), self.precision, self.device)
        model.train(was_training)


def fit_sequences(
    model: nn.Module,
    events: EventStore,
    config: SequenceTrainingConfig,
    run: Run,
    after_step: Callable[[], None] | None = None,
    phases: Phases = (),
) -> FittedSequences:
    """Train a next-item model; afterwards it holds the chosen weights, on the run's device.

    Goes on from the run's checkpoint if there is one, and is then bitwise what it would have been without the
    interruption (on a CPU, with the same build and number of threads).

    Args:
        model: a `NextItemModel`.
        after_step: restores a constraint on its weights.
        phases: as in `TrainingSession`.

    Raises:
        DataError: there is nothing to learn from.
        Stopped, NotFiniteError, CheckpointError: as `libs.training.loop.TrainingLoop.run`.
    """
    processes = join_processes(run.device)
    task = SequenceTask(events, config, run, processes)
    if not task.validates and processes.main:
        run.log(
            "no event is held out for validation: the last weights are kept, and nothing ends this early", "warning"
        )
    total_steps = config.total_steps(task.steps_per_epoch)
    session = TrainingSession(
        task.step(model),
        config,
        device_of(run.device),
        processes,
        total_steps,
        monitor=config.monitor,
        after_step=after_step,
        phases=phases,
        depends_on={"weighing of targets": "alike"},  # checkpoints from before they were are refused
    )
    reporter = Reporter(run, config.checkpoint_every_s, session, total_steps, unit="sequences")
    return TrainingLoop(session, task, reporter, config).run()
