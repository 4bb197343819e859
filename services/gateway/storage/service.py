"""Space in the artifact store, and getting it back. What is kept for how long is `libs.registry.retention`."""

from sqlalchemy import Engine

from libs.database.engine import read_only, session, transaction
from libs.jobs.retention import delete_ended
from libs.registry import retention
from libs.registry.artifacts import ArtifactStore
from libs.web.problems import FieldProblem, UnprocessableError, summary_of
from services.gateway.storage.schemas import Collected, CollectRequest


def asked_once(query: CollectRequest, body: CollectRequest) -> CollectRequest:
    """What was asked for in the query and in the body together.

    Raises:
        UnprocessableError: one thing was said in both places.
    """
    in_query, in_body = (one.model_dump(exclude_none=True) for one in (query, body))
    message = "This was said in the query, too; say it once."
    twice = [FieldProblem(pointer=f"/{name}", message=message) for name in in_query.keys() & in_body.keys()]
    if twice:
        raise UnprocessableError(summary_of(twice), errors=twice)
    return CollectRequest(**in_query, **in_body)


def collect(engine: Engine, store: ArtifactStore, jobs_older_than_s: float | None = None) -> Collected:
    """Forget what the policy no longer keeps, and old jobs when asked; then delete the files that no row names."""
    jobs = 0
    while deleted := _delete_some_jobs(engine, jobs_older_than_s):
        jobs += deleted
    with transaction(engine) as opened:
        retention.purge(opened, retention.RetentionPolicy())
    with read_only(engine) as opened:
        named = retention.referenced_uris(opened, store)
    found = retention.collect(named, store)
    return Collected(jobs=jobs, files=found.files, size_bytes=found.size_bytes, dry_run=False)


def _delete_some_jobs(engine: Engine, older_than_s: float | None) -> int:
    if older_than_s is None:
        return 0
    with transaction(engine) as opened:
        return delete_ended(opened, older_than_s)


def rehearse(engine: Engine, store: ArtifactStore, jobs_older_than_s: float | None = None) -> Collected:
    """What `collect` would delete; changes nothing."""
    jobs = 0
    with session(engine) as opened:
        while jobs_older_than_s is not None and (deleted := delete_ended(opened, jobs_older_than_s)):
            jobs += deleted
        retention.purge(opened, retention.RetentionPolicy())
        named = retention.referenced_uris(opened, store)
        opened.rollback()
    found = retention.collect(named, store, dry_run=True)
    return Collected(jobs=jobs, files=found.files, size_bytes=found.size_bytes, dry_run=True)
