"""Space in the artifact store, and getting it back. What is kept for how long is `libs.registry.retention`."""

from sqlalchemy import Engine

from libs.database.engine import session, transaction
from libs.registry import retention
from libs.registry.artifacts import ArtifactStore
from services.gateway.storage.schemas import Collected


def collect(engine: Engine, store: ArtifactStore) -> Collected:
    """Forget what the policy no longer keeps, then delete the files that no row names."""
    with transaction(engine) as opened:
        retention.purge(opened, retention.RetentionPolicy())
    # Each statement on its own: deleting many files takes longer than a transaction may stay open.
    with session(engine.execution_options(isolation_level="AUTOCOMMIT")) as opened:
        found = retention.collect(opened, store)
    return Collected(files=found.files, size_bytes=found.size_bytes, dry_run=False)


def rehearse(engine: Engine, store: ArtifactStore) -> Collected:
    """What `collect` would delete; changes nothing."""
    with session(engine) as opened:
        retention.purge(opened, retention.RetentionPolicy())
        found = retention.collect(opened, store, dry_run=True)
        opened.rollback()
    return Collected(files=found.files, size_bytes=found.size_bytes, dry_run=True)
