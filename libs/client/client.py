"""Octavo from Python.

    from libs.client.client import Octavo

    with Octavo() as octavo:
        job = octavo.jobs.submit("frskd", datasets={"train": "cats"}, config={"epochs": 20})
        octavo.jobs.wait(job.id)
        octavo.deployments.create("cats-frskd")
        print(octavo.predict("cats-frskd", Path("picture.jpg")).label)

Errors are those of `libs.client.errors`. Needs no torch and no numpy.
"""

import mimetypes
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from libs.client.datasets import Datasets
from libs.client.deployments import Deployments
from libs.client.discovery import find_target
from libs.client.errors import LocalFileError
from libs.client.jobs import Jobs
from libs.client.keys import Keys
from libs.client.methods import Methods
from libs.client.models import Models
from libs.client.recommendations import Recommendations
from libs.client.records import Classification
from libs.client.schedules import Schedules
from libs.client.storage import Storage
from libs.client.transport import Retries, Transport


class Octavo:
    """A connection to a gateway. Close it, or use it in a `with` block.

    Args:
        base_url: address of the gateway; else `OCTAVO_URL`, else the local stack.
        api_key: else `OCTAVO_API_KEY`, else the local stack's key.
        timeout_s: longest wait for one answer.
        transport: for tests: answers instead of a network.

    Raises:
        NotConfiguredError: nothing says where the gateway is, or there is no key for it.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 90.0,
        retries: Retries | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        target = find_target(base_url, api_key)
        self._http = Transport(target, timeout_s=timeout_s, retries=retries, transport=transport)
        self.url = target.url
        self.methods = Methods(self._http)
        self.jobs = Jobs(self._http)
        self.schedules = Schedules(self._http)
        self.datasets = Datasets(self._http, self.jobs)
        self.models = Models(self._http)
        self.deployments = Deployments(self._http)
        self.recommendations = Recommendations(self._http)
        self.keys = Keys(self._http)
        self.storage = Storage(self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(self, deployment: str, picture: Path | bytes, top_k: int = 5) -> Classification:
        """Classify one picture: a file, or the bytes of one.

        Raises:
            LocalFileError: the file cannot be read.
            InvalidRequestError: it is no picture, or too large.
            NotFoundError: nothing is deployed under this name.
        """
        content, media_type = picture_content(picture)
        answer = self._http.json(
            "POST",
            f"/v1/classify/{deployment}",
            content=content,
            params={"top_k": top_k},
            headers={"Content-Type": media_type},
        )
        return Classification.of(answer)

    def version(self) -> str:
        """Version of the gateway."""
        return str(self._http.json("GET", "/version")["version"])


def picture_content(picture: Path | bytes) -> tuple[bytes, str]:
    """A picture's bytes and media type."""
    if isinstance(picture, bytes):
        return picture, "application/octet-stream"
    try:
        content = picture.read_bytes()
    except OSError as error:
        raise LocalFileError(f"{picture} cannot be read: {error.strerror}.") from None
    guessed = mimetypes.guess_type(picture.name)[0] or ""
    return content, guessed if guessed.startswith("image/") else "application/octet-stream"
