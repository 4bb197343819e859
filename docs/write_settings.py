"""Writes docs/settings.md anew from the classes that read the variables: `python -m docs.write_settings`."""

import html
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from libs.settings import PlatformSettings
from services.gateway.settings import GatewaySettings
from services.local.settings import LocalSettings
from services.model_server.settings import ModelServerSettings
from services.recommender.memory_settings import MemorySettings
from services.recommender.settings import RecommenderSettings
from services.worker.settings import WorkerSettings

PAGE = Path(__file__).with_name("settings.md")
PARTS: tuple[tuple[str, tuple[type[BaseSettings], ...]], ...] = (
    ("Every process", (PlatformSettings,)),
    ("The gateway", (GatewaySettings,)),
    ("A worker", (WorkerSettings,)),
    ("The model server", (ModelServerSettings,)),
    ("The recommender", (RecommenderSettings, MemorySettings)),
    ("The local stack", (LocalSettings,)),
)
OF_THE_MACHINE = {"OCTAVO_HOME": "the user's data folder", "OCTAVO_MODEL_SERVER_DECODERS": "one a core, at most 4"}
HEAD = """\
# Settings

Every setting is an environment variable. A value that cannot be ends the process at its start, in one line that names
the variable. The [local stack](local.md) sets addresses and ports itself and passes your other `OCTAVO_*` variables on;
with [Docker](docker.md) they go into `.env` or `docker-compose.yml`, whose own variables `.env.example` lists. The
command line reads `OCTAVO_URL` and `OCTAVO_API_KEY` ([cli.md](cli.md)).

This page is written by `python -m docs.write_settings` from the classes that read the variables.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_part(title, classes) for title, classes in PARTS)


def _part(title: str, classes: tuple[type[BaseSettings], ...]) -> str:
    rows = {
        f"{one.model_config.get('env_prefix', '')}{name}".upper(): field
        for one in classes
        for name, field in one.model_fields.items()
        if not _is_group(field) and not (one is WorkerSettings and name in PlatformSettings.model_fields)
    }
    lines = [f"| `{name}` | {_default(name, field)} | {_meaning(field)} |\n" for name, field in rows.items()]
    return f"\n## {title}\n\n| variable | default | what it is |\n|---|---|---|\n" + "".join(lines)


def _is_group(field: FieldInfo) -> bool:
    """Settings within settings: they have a part of their own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings)


def _default(name: str, field: FieldInfo) -> str:
    if name in OF_THE_MACHINE:
        return OF_THE_MACHINE[name]
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "" or value is PydanticUndefined:
        return "none"
    if name.endswith("_BYTES"):
        unit, letters = (2**30, "GiB") if value % 2**30 == 0 else (2**20, "MiB")
        return f"`{value}` ({value // unit} {letters})"
    return f"`{f'{value:g}' if isinstance(value, float) else value}`"


def _meaning(field: FieldInfo) -> str:
    return html.escape(field.description or "", quote=False)


if __name__ == "__main__":
    PAGE.write_text(page())
