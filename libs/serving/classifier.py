"""A classifier of pictures, ready to compute."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from libs.serving.batcher import Batcher, Computed
from libs.serving.bundle import MODEL_FILE, ClassifierBundle
from libs.serving.errors import LoadError
from libs.serving.folder import read_classifier_bundle
from libs.serving.probe import probe
from libs.serving.repository import Identity, RunSettings
from libs.serving.session import ModelSession
from libs.serving.watching import Watched


class LoadedClassifier:
    """One version, ready to compute.

    Attributes:
        identity: what it is.
        bundle: its bundle: labels, recipe, signature.
        settings: how it is run.
    """

    def __init__(
        self, identity: Identity, bundle: ClassifierBundle, session: ModelSession, settings: RunSettings
    ) -> None:
        self.identity = identity
        self.bundle = bundle
        self.settings = settings
        self.providers = session.providers
        self._batcher = Batcher(
            session.run,
            max_rows=settings.max_batch_size,
            max_delay_s=settings.max_delay_s,
            queue_limit_rows=settings.queue_limit_rows,
            name=f"batcher-{identity.model_name}-{identity.version}",
        )

    def submit(self, rows: NDArray[Any]) -> Future[Computed]:
        """Queue rows that fit the signature; see `Batcher.submit`."""
        return self._batcher.submit(rows, self.settings.timeout_s)

    @property
    def queue(self) -> Watched:
        """Where its requests wait."""
        return self._batcher

    def close(self) -> None:
        """Compute what waits, then free the session."""
        self._batcher.close()


def load(folder: Path, identity: Identity, settings: RunSettings) -> LoadedClassifier:
    """Load a bundle, warm it up and probe it.

    Raises:
        LoadError: the bundle is damaged, the provider is absent, or the probe shows other numbers than were recorded.
    """
    bundle = read_classifier_bundle(folder)
    session = ModelSession(folder / MODEL_FILE, settings.provider, settings.threads)
    if session.input_name != bundle.inputs[0].name or session.output_name != bundle.outputs[0].name:
        raise LoadError(
            f"the graph maps {session.input_name!r} to {session.output_name!r}, "
            f"the bundle says {bundle.inputs[0].name!r} to {bundle.outputs[0].name!r}"
        )
    probe(session, bundle, folder, settings.max_batch_size)
    return LoadedClassifier(identity, bundle, session, settings)
