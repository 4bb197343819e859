"""API keys."""

from collections.abc import Iterator, Sequence

from libs.client.records import Key
from libs.client.transport import Transport


class Keys:
    """`/v1/keys`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def create(self, name: str, scopes: Sequence[str]) -> Key:
        """A new key; its text is in `key`, this once."""
        return Key.of(self._http.json("POST", "/v1/keys", json={"name": name, "scopes": list(scopes)}))

    def list(self) -> Iterator[Key]:
        """The project's keys, newest first, without their text."""
        yield from map(Key.of, self._http.pages("/v1/keys"))

    def revoke(self, key_id: str) -> None:
        """Make a key invalid at once."""
        self._http.json("DELETE", f"/v1/keys/{key_id}")
