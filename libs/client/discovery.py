"""Which gateway to talk to, and with which key.

In this order: arguments; `OCTAVO_URL` and `OCTAVO_API_KEY`; the local stack's `stack.json` under `OCTAVO_HOME`.
The local stack's key is only ever sent to the local stack's address.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from libs.client.errors import BadAddressError, NotConfiguredError


@dataclass(frozen=True, slots=True)
class Target:
    """An address and a key for it."""

    url: str
    api_key: str


def home() -> Path:
    """The folder of the local stack."""
    given = os.environ.get("OCTAVO_HOME")
    if given:
        return Path(given).expanduser()
    import platformdirs  # here: most calls are told where to go and need it not

    return Path(platformdirs.user_data_dir("octavo"))


def find_target(url: str | None = None, api_key: str | None = None) -> Target:
    """The gateway to talk to.

    Raises:
        BadAddressError: the address given is none.
        NotConfiguredError: nothing says where it is, or there is no key for it.
    """
    url = url or os.environ.get("OCTAVO_URL")
    if url:
        _check_address(url)
    api_key = api_key or os.environ.get("OCTAVO_API_KEY")
    if url and api_key:
        return Target(url.rstrip("/"), api_key)
    local = _local_stack()
    if url is None:
        if local is None:
            raise NotConfiguredError(
                "No Octavo to talk to: the local stack does not run (start it with `octavo up`), "
                "and OCTAVO_URL is not set."
            )
        return Target(local.url, api_key or local.api_key)
    if local is not None and local.url == url.rstrip("/"):
        return local
    raise NotConfiguredError(f"There is no key for {url}. Set OCTAVO_API_KEY to one (`octavo keys create` makes them).")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        fits = False
    if not fits:
        raise BadAddressError(f"{url!r} is no address of a gateway; OCTAVO_URL is written as http://127.0.0.1:8421.")


def _local_stack() -> Target | None:
    try:
        state = json.loads((home() / "stack.json").read_text())
        return Target(str(state["url"]), Path(state["key_file"]).read_text().strip())
    except (OSError, ValueError, KeyError, TypeError):
        return None
