"""Before any service starts: migrate the database, make the first API key. `python -m services.local.prepare KEYFILE`.

A process of its own, so that the supervisor does not carry the packages this needs.
"""

import sys
from pathlib import Path

from libs.database.engine import make_engine, transaction
from libs.database.migrate import upgrade
from services.gateway.keys.service import ensure_local_key


def prepare(key_file: Path) -> None:
    """Bring the database to this code's schema and make sure that `key_file` holds a valid key."""
    engine = make_engine(application="octavo-prepare")
    upgrade(engine)
    with transaction(engine) as session:
        ensure_local_key(session, key_file)
    engine.dispose()


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
