"""Deployments: which model is served under which name."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from libs.client.errors import DeploymentFailedError, WaitTimeoutError
from libs.client.records import Deployment
from libs.client.transport import Transport

_POLL_S = 0.3


class Deployments:
    """`/v1/deployments`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def create(self, model: str, name: str | None = None, settings: Mapping[str, Any] | None = None) -> Deployment:
        """Serve `model` (`cats`, `cats@3`, `cats@production`) under `name`, by default the model's own."""
        body: dict[str, Any] = {"name": name or model.partition("@")[0], "model": model}
        if settings:
            body["settings"] = dict(settings)
        return Deployment.of(self._http.json("POST", "/v1/deployments", json=body))

    def update(self, name: str, model: str | None = None, settings: Mapping[str, Any] | None = None) -> Deployment:
        """Point a deployment at another version, or run it otherwise; what is left out stays as it is.

        The old one serves until the new one is ready.
        """
        body: dict[str, Any] = {"model": model} if model is not None else {}
        if settings:
            body["settings"] = dict(settings)
        return Deployment.of(self._http.json("PUT", f"/v1/deployments/{name}", json=body))

    def share(self, name: str, traffic: Mapping[str, float]) -> Deployment:
        """Have other deployments answer so many percent of a deployment's requests each, it the rest; {}: it all.

        Raises:
            InvalidRequestError: there is no such deployment, one is no recommender, or it is more than 100 %.
        """
        return self.update(name, settings={"traffic": dict(traffic)})

    def list(self) -> Iterator[Deployment]:
        """Every deployment."""
        yield from map(Deployment.of, self._http.pages("/v1/deployments"))

    def get(self, name: str) -> Deployment:
        """One deployment."""
        return Deployment.of(self._http.json("GET", f"/v1/deployments/{name}"))

    def delete(self, name: str) -> None:
        """Stop serving."""
        self._http.json("DELETE", f"/v1/deployments/{name}")

    def wait_ready(self, name: str, timeout_s: float = 120.0) -> Deployment:
        """Wait until the model server has loaded the version it should serve.

        Raises:
            DeploymentFailedError: it could not be loaded.
            WaitTimeoutError: it still loads after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.get(name)
            if found.status == "ready" and found.version == found.loaded_version:
                return found
            if found.status == "failed":
                raise DeploymentFailedError(f"{name} could not be loaded: {found.status_reason}")
            if time.monotonic() > deadline:
                raise WaitTimeoutError(f"{name} is still {found.status} after {timeout_s:g} s; it goes on.")
            self._http.sleep(_POLL_S)
