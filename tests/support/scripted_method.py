"""A training method whose every step a test allows, so that faults hit it where the test wants them.

Files in the folder `$OCTAVO_TEST_CONTROL` steer it:
    allow            a number: so many steps may be done
    raise-at-N       raise at step N, once: the file is taken away; content `user` makes it the user's error
    limit-files-at-N from step N on no file may grow beyond the bytes in it
    ignore-stop      do not obey a wish to stop
"""

import hashlib
import os
import resource
from pathlib import Path
from threading import Event

from libs.data.recipe import Recipe
from libs.models.compare_config import CompareConfig
from libs.models.supervised.config import SupervisedConfig
from libs.serving.bundle import ClassifierBundle, Lineage, Parity, TensorSpec
from libs.training.run import Inputs, Outcome, Run, Stopped
from services.worker.child import is_main_rank


class ScriptedError(Exception):
    """What `raise-at-N` asked for."""

    def __init__(self, step: int, user_error: bool) -> None:
        super().__init__(f"scripted failure at step {step}")
        self.user_error = user_error


def control() -> Path:
    return Path(os.environ["OCTAVO_TEST_CONTROL"])


def train(config: SupervisedConfig, inputs: Inputs, run: Run) -> Outcome:
    """`config.max_steps` steps, each a hash of the one before, a metric and a checkpoint."""
    state = run.load_checkpoint() or {"step": 0, "chain": f"seed {run.seed}"}
    run.log("begins", step=state["step"])
    steps = config.max_steps or 1
    while state["step"] < steps:
        wait_until_allowed(state["step"], run)
        step = state["step"] + 1
        obey(step)
        state = {"step": step, "chain": hashlib.sha256(state["chain"].encode()).hexdigest()}
        run.metric("train/loss", 1.0 / step, step)
        run.progress(step / steps, f"step {step}")
        run.save_checkpoint(step, state)
    if not is_main_rank():  # as in real methods, whose ranks share the folder
        return Outcome()
    return Outcome(metrics={"val/accuracy": 0.5}, bundle=write_bundle(run.folder, state["chain"]))


def gather(config: CompareConfig, inputs: Inputs, run: Run) -> Outcome:
    """Stands for the task `compare`: for each run, whether its model is what an uninterrupted training makes."""
    steps = config.config["max_steps"]
    made = {name: (inputs.models[name] / "model.onnx").read_text() for name in config.runs()}
    return Outcome(
        metrics={name: float(made[name] == chain_after(steps, seed)) for name, (_, seed) in config.runs().items()}
    )


def wait_until_allowed(step: int, run: Run) -> None:
    pause = Event()
    while True:
        reason = run.stop_reason()
        if reason and not (control() / "ignore-stop").exists():
            raise Stopped(reason)
        if step < int((control() / "allow").read_text()):
            return
        pause.wait(0.01)


def obey(step: int) -> None:
    order = control() / f"raise-at-{step}"
    if order.exists():
        kind = order.read_text()
        order.unlink()
        raise ScriptedError(step, kind == "user")
    limit = control() / f"limit-files-at-{step}"
    if limit.exists():
        size_bytes = int(limit.read_text())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def write_bundle(folder: Path, chain: str) -> Path:
    """A bundle whose model file tells which steps led to it."""
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "model.onnx").write_text(chain)
    description = ClassifierBundle(
        architecture="scripted",
        labels=["a", "b"],
        recipe=Recipe(channels=1, height=8, width=8, mean=[0.5], std=[0.5]),
        inputs=[TensorSpec(name="input", datatype="FP32", shape=[-1, 1, 8, 8])],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, 2])],
        parity=Parity(samples=1, max_abs_diff=0.0, tolerance=1e-4, argmax_disagreements=0, passed=True),
        lineage=Lineage(method="supervised"),
        files={"model.onnx": hashlib.sha256(chain.encode()).hexdigest()},
    )
    (bundle / "bundle.json").write_text(description.model_dump_json())
    return bundle


def chain_after(steps: int, seed: int = 0) -> str:
    """What `model.onnx` holds after an uninterrupted run."""
    chain = f"seed {seed}"
    for _ in range(steps):
        chain = hashlib.sha256(chain.encode()).hexdigest()
    return chain
