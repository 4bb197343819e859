"""What a bundle must have shown before its version is `ready`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from libs.serving.bundle import Bundle, ClassifierBundle, NextItemBundle, ParentComparison

RELATION_FILES = {"cooccurrence.npz", "factors.npy", "users.parquet"}
"""Of which a server makes the inputs of models that attend by relations."""

IMPORTED = "onnx"
"""`Bundle.architecture` of an imported graph: there is no torch model to compare it with."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate; `detail` says what was seen."""

    passed: bool
    detail: str


def check_gates(bundle: Bundle) -> dict[str, GateResult]:
    """Every gate's result, by name."""
    gates = {"signature": _signature(bundle), "parity": _parity(bundle)}
    if isinstance(bundle, NextItemBundle) and bundle.against_parent is not None:
        gates["parent"] = _parent(bundle.against_parent)
    return gates


def first_failure(gates: Mapping[str, GateResult]) -> str | None:
    """Why the version is rejected, or None when all gates passed."""
    return next((f"{name}: {gate.detail}" for name, gate in gates.items() if not gate.passed), None)


def _signature(bundle: Bundle) -> GateResult:
    if isinstance(bundle, ClassifierBundle):
        return _classifier_signature(bundle)
    if isinstance(bundle, NextItemBundle):
        return _next_item_signature(bundle)
    return GateResult(False, f"nothing serves the task {bundle.task!r}")


def _next_item_signature(bundle: NextItemBundle) -> GateResult:
    got_in = {spec.name: (spec.datatype, spec.shape) for spec in bundle.inputs}
    got_out = {spec.name: (spec.datatype, spec.shape) for spec in bundle.outputs}
    if got_in.get("items") != ("INT64", [-1, -1]) or got_in.get("lengths") != ("INT64", [-1]):
        return GateResult(False, f"inputs are {got_in}; wanted INT64 items [-1, -1] and lengths [-1]")
    further = got_in.keys() - {"items", "lengths"}
    if unknown := [name for name in sorted(further) if not _is_relation(*got_in[name], name)]:
        return GateResult(False, f"input {unknown[0]} {got_in[unknown[0]]} is none that a server can make")
    if further and (missing := sorted(RELATION_FILES - bundle.files.keys())):
        return GateResult(False, f"inputs {sorted(further)} are made of {missing[0]}, which the bundle does not have")
    if got_out != {"features": ("FP32", [-1, bundle.width])}:
        return GateResult(False, f"outputs are {got_out}; wanted FP32 features [-1, {bundle.width}]")
    return GateResult(True, f"histories up to {bundle.max_length} of {bundle.items} items to FP32 [-1, {bundle.width}]")


def _is_relation(datatype: str, shape: list[int], name: str) -> bool:
    """Whether an input is one that `libs.data.events.relations` makes."""
    if name == "users":
        return (datatype, shape) == ("INT64", [-1])
    if name == "factors":
        return datatype == "FP32" and shape[:2] == [-1, -1] and len(shape) == 3 and shape[2] > 0
    return name in ("shape", "kernel") and (datatype, shape) == ("FP32", [-1, -1, -1])


def _classifier_signature(bundle: ClassifierBundle) -> GateResult:
    if len(bundle.inputs) != 1 or len(bundle.outputs) != 1:
        return GateResult(False, f"{len(bundle.inputs)} inputs and {len(bundle.outputs)} outputs; one each is served")
    wanted_in = [bundle.recipe.channels, bundle.recipe.height, bundle.recipe.width]
    got_in, got_out = bundle.inputs[0], bundle.outputs[0]
    if got_in.datatype != "FP32" or got_in.shape[1:] != wanted_in:
        return GateResult(False, f"input is {got_in.datatype} {got_in.shape}, the recipe makes FP32 [-1, {wanted_in}]")
    if got_out.datatype != "FP32" or got_out.shape[1:] != [len(bundle.labels)]:
        return GateResult(False, f"output is {got_out.datatype} {got_out.shape}, for {len(bundle.labels)} labels")
    return GateResult(True, f"FP32 {got_in.shape} to FP32 {got_out.shape}")


def _parent(comparison: ParentComparison) -> GateResult:
    least = comparison.parent * (1 - comparison.tolerance)
    seen = (
        f"{comparison.figure} is {comparison.child:.4g}, the parent's on the same {comparison.cases} held-out events "
        f"{comparison.parent:.4g}, so at least {least:.4g} is asked for"
    )
    return GateResult(comparison.passed and comparison.child >= least, seen)


def _parity(bundle: Bundle) -> GateResult:
    parity = bundle.parity
    if parity is None:
        if bundle.architecture == IMPORTED:
            return GateResult(True, "imported graph: there is nothing to compare it with")
        return GateResult(False, "the ONNX model was not compared with the torch model")
    seen = (
        f"max |difference| {parity.max_abs_diff:.3g} of {parity.tolerance:.3g} allowed, "
        f"{parity.argmax_disagreements} other answers, on {parity.samples} samples"
    )
    sound = (
        parity.passed
        and parity.samples > 0
        and parity.argmax_disagreements == 0
        and math.isfinite(parity.max_abs_diff)
        and parity.max_abs_diff <= parity.tolerance
    )
    return GateResult(sound, seen)
