"""ONNX Runtime sessions with an explicit provider and thread count."""

from pathlib import Path
from typing import Any, Literal, cast

import onnxruntime as ort
from numpy.typing import NDArray

from libs.serving.errors import LoadError, ProviderError

Provider = Literal["cpu", "cuda"]
_PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ModelSession:
    """One loaded graph with one input and one output; `run` may be called from any thread."""

    def __init__(self, model: Path, provider: Provider = "cpu", threads: int = 1, device_id: int = 0) -> None:
        """Load `model`.

        Args:
            provider: what it must run on.
            threads: of one run.
            device_id: which GPU, for cuda.

        Raises:
            ProviderError: `provider` is not there. ONNX Runtime itself would fall back to the CPU without a word.
            LoadError: the file is no graph, or not one with one input and one output.
        """
        self._session = open_session(model, provider, threads, device_id)
        self.providers = cast(list[str], self._session.get_providers())
        self.input_name = _only("input", self._session.get_inputs())
        self.output_name = _only("output", self._session.get_outputs())

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Compute one batch: [N, ...] → [N, ...]."""
        return cast(NDArray[Any], self._session.run([self.output_name], {self.input_name: batch})[0])


def open_session(model: Path, provider: Provider, threads: int, device_id: int = 0) -> ort.InferenceSession:
    """Load a graph with any inputs and outputs; its `run` may be called from any thread.

    Raises:
        ProviderError: `provider` is not there. ONNX Runtime itself would fall back to the CPU without a word.
        LoadError: the file is no graph.
    """
    wanted = _PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise ProviderError(
            f"{provider} was asked for, and this onnxruntime has only {', '.join(ort.get_available_providers())}. "
            "Install the extra `inference-gpu`, or deploy with provider cpu."
        )
    providers: list[Any] = [] if provider == "cpu" else [(wanted, {"device_id": device_id})]
    try:
        session = ort.InferenceSession(model, _options(threads), providers=[*providers, _PROVIDERS["cpu"]])
    except Exception as error:  # onnxruntime raises a family of classes with no public base
        raise LoadError(f"{model.name} cannot be loaded: {error}") from error
    check_providers(wanted, session.get_providers())
    return session


def check_providers(wanted: str, loaded: list[str]) -> None:
    """Compare what was asked for with what a session runs on.

    Raises:
        ProviderError: it runs elsewhere.
    """
    if wanted not in loaded:
        raise ProviderError(
            f"{wanted} was asked for and could not start; the session runs on {', '.join(loaded)}. "
            "See the service's log for what CUDA or cuDNN lacks, or deploy with provider cpu."
        )


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads that spin take the cores from the models beside this one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _only(kind: str, tensors: list[Any]) -> str:
    if len(tensors) != 1:
        raise LoadError(f"the graph has {len(tensors)} {kind}s ({', '.join(t.name for t in tensors)}); one is served")
    return cast(str, tensors[0].name)
