"""Methods: what can be trained, and with which hyper-parameters."""

from libs.client.records import Method
from libs.client.transport import Transport


class Methods:
    """`/v1/methods`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def list(self) -> list[Method]:
        """Training methods, then the platform's own tasks."""
        return [Method.of(one) for one in self._http.json("GET", "/v1/methods")["items"]]

    def get(self, name: str) -> Method:
        """One method, with what it reads and the JSON Schema and defaults of its hyper-parameters."""
        return Method.of(self._http.json("GET", f"/v1/methods/{name}"))
