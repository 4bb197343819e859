"""A live session: what `step.onnx` carries from event to event, and its bytes.

    "OST1" · SHA-256 of the model version's digest · events uint32 · features float32 [d] · per tensor of the bundle's
    `state`: its dimensions uint32, its values little-endian

Everything but the number of events is fixed by the model's version: bytes of another version, and shapes that do not
follow from the number of events, are refused.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.serving.bundle import NextItemBundle, TensorSpec
from libs.serving.errors import LoadError, ServingError
from libs.serving.recommendation.encoder import Graph
from libs.serving.recommendation.ranking import Floats

STEP_FILE = "step.onnx"
_MAGIC = b"OST1"
_HEADER = struct.Struct("<4s32sI")
_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
}


class StateUnusable(ServingError):
    """A session's state cannot go on; compute the features from the session's events instead."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session after some events.

    Attributes:
        events: how many.
        features: after the last of them, [1, d]; None before the first.
        tensors: of the bundle's `state`, in its order, each [1, ...].
    """

    events: int
    features: Floats | None
    tensors: tuple[NDArray[Any], ...]


class SessionStates:
    """Sessions of one model version."""

    def __init__(self, graph: Graph, bundle: NextItemBundle, digest: str) -> None:
        """Sessions by `step.onnx`.

        Raises:
            LoadError: a tensor of the state has no free first dimension, or frees one that is neither first nor second.
        """
        for spec in bundle.state:
            if spec.shape[:1] != [-1] or -1 in spec.shape[2:]:
                raise LoadError(
                    f"the state {spec.name!r} is {spec.shape}; N and the events behind it alone may be free"
                )
        self._graph = graph
        self._specs = bundle.state
        self._width = bundle.width
        self._max_length = bundle.max_length
        self._version = hashlib.sha256(digest.encode()).digest()

    def start(self) -> SessionState:
        """A session without events: zeros, and none of them where a dimension counts events."""
        return SessionState(0, None, tuple(np.zeros(_shape(spec, 0), _DTYPES[spec.datatype]) for spec in self._specs))

    def advance(self, state: SessionState, item: int) -> SessionState:
        """The session after one further event, the item of this number.

        Raises:
            StateUnusable: it has as many events as the model reads; or its numbers are not finite.
        """
        if state.events >= self._max_length:
            raise StateUnusable(f"the session has {state.events} events, all that the model reads")
        inputs = {spec.name: tensor for spec, tensor in zip(self._specs, state.tensors, strict=True)}
        outputs = self._graph.run({"item": np.array([item], np.int64), **inputs})
        features = outputs["features"]
        if not np.isfinite(features).all():
            raise StateUnusable("the session's features are not finite")
        return SessionState(state.events + 1, features, tuple(outputs[f"next_{spec.name}"] for spec in self._specs))

    def replay(self, items: Sequence[int]) -> SessionState:
        """The session of these events, at most `max_length` of them.

        Raises:
            StateUnusable: as `advance`.
        """
        state = self.start()
        for item in items:
            state = self.advance(state, item)
        return state

    def to_bytes(self, state: SessionState) -> bytes:
        """A session to keep elsewhere."""
        features = np.zeros((1, self._width), np.float32) if state.features is None else state.features
        parts = [_HEADER.pack(_MAGIC, self._version, state.events), features.astype("<f4").tobytes()]
        for spec, tensor in zip(self._specs, state.tensors, strict=True):
            parts.append(struct.pack(f"<{tensor.ndim}I", *tensor.shape))
            parts.append(np.ascontiguousarray(tensor, _DTYPES[spec.datatype]).tobytes())
        return b"".join(parts)

    def from_bytes(self, content: bytes) -> SessionState:
        """A session from its bytes.

        Raises:
            StateUnusable: they are another version's, damaged or cut.
        """
        if len(content) < _HEADER.size or content[:4] != _MAGIC:
            raise StateUnusable("these bytes are no session state")
        _, version, events = _HEADER.unpack_from(content)
        if version != self._version:
            raise StateUnusable("the state is another model version's")
        if events > self._max_length:
            raise StateUnusable(f"the state claims {events} events; the model reads {self._max_length}")
        reader = _Reader(content, _HEADER.size)
        features: Floats = reader.array(_DTYPES["FP32"], (1, self._width))
        tensors = tuple(reader.tensor(spec, events) for spec in self._specs)
        reader.end()
        return SessionState(events, features if events else None, tensors)


class _Reader:
    """Arrays one after another in bytes."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self._place = place

    def tensor(self, spec: TensorSpec, events: int) -> NDArray[Any]:
        wanted = _shape(spec, events)
        end = self._place + 4 * len(wanted)
        if end > len(self._content):
            raise StateUnusable("the state is cut short")
        shape = struct.unpack_from(f"<{len(wanted)}I", self._content, self._place)
        if shape != wanted:
            raise StateUnusable(f"the state's {spec.name!r} is {list(shape)}, not {list(wanted)}")
        self._place = end
        return self.array(_DTYPES[spec.datatype], wanted)

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        count = math.prod(shape)
        end = self._place + count * dtype.itemsize
        if end > len(self._content):
            raise StateUnusable("the state is cut short")
        found = np.frombuffer(self._content, dtype, count, self._place).reshape(shape)
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise StateUnusable("the state holds numbers that are not finite")
        self._place = end
        return found

    def end(self) -> None:
        if self._place != len(self._content):
            raise StateUnusable("the state has more bytes than it should")


def _shape(spec: TensorSpec, events: int) -> tuple[int, ...]:
    return (1, *(events if size == -1 else size for size in spec.shape[1:]))
