"""How long a child's `run.metric`, `run.progress` and `run.log` take to be rows that others can read.

A real worker's supervisor runs a real child process, which puts the time into what it reports; Postgres (fsync on)
keeps the time of each commit, on the same machine. Settings are the defaults. Of progress, the events count. Run:

    python -m benchmarks.reporting_delay [--reports 400] [--out benchmarks/results/reporting_delay.json]
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
from pydantic import SecretStr
from sqlalchemy import Engine, text

from benchmarks.result_file import write_result
from libs.database.engine import make_engine, transaction
from libs.database.migrate import upgrade
from libs.database.tables import DEFAULT_PROJECT_ID, Job
from libs.jobs.spec import parse_spec
from libs.jobs.submit import submit
from services.local.postgres import LocalPostgres
from services.worker.launch import python_child
from services.worker.settings import WorkerSettings
from services.worker.worker import Worker

LIMIT_S = 1.0
_COMMITTED = "extract(epoch FROM pg_xact_commit_timestamp(xmin))"
QUERIES = {
    "metric": f"SELECT {_COMMITTED} - value FROM job_metrics WHERE job_id = :job AND name = 'sent'",
    "progress": f"SELECT {_COMMITTED} - (data->>'note')::float FROM job_events "
    "WHERE job_id = :job AND kind = 'progress'",
    "log": f"SELECT {_COMMITTED} - (data->'fields'->>'at')::float FROM job_events "
    "WHERE job_id = :job AND kind = 'log' AND data->>'message' = 'sent'",
}


def reporting_child(folder: Path, processes: int) -> Sequence[str]:
    """The product's command with another module at its end."""
    command = list(python_child(folder, processes))
    command[command.index("services.worker.child")] = "benchmarks.reporting_child"
    return command


@contextmanager
def database() -> Iterator[tuple[Path, str]]:
    """A folder and a migrated Postgres that notes when each transaction was committed."""
    with tempfile.TemporaryDirectory(prefix="octavo-bench-") as folder:
        Path(folder).chmod(0o755)
        with LocalPostgres(Path(folder) / "postgres", settings={"track_commit_timestamp": "on"}) as server:
            yield Path(folder), server.url


def run_job(engine: Engine, settings: WorkerSettings, reports: int) -> UUID:
    """Run a job that reports so often; its id once it has succeeded."""
    with transaction(engine) as session:
        spec = parse_spec({"method": "supervised", "name": "reports", "config": {"max_steps": reports}})
        job_id = submit(session, DEFAULT_PROJECT_ID, spec).id
    Worker(settings, launcher=reporting_child).supervisor.run(job_id)
    with transaction(engine) as session:
        job = session.get_one(Job, job_id)
        assert job.status == "succeeded", job.error
    return job_id


def delays_s(engine: Engine, job_id: UUID) -> dict[str, list[float]]:
    """Seconds from each call to its commit, by kind."""
    with engine.connect() as connection:
        return {
            kind: [float(delay) for delay in connection.scalars(text(query), {"job": job_id})]
            for kind, query in QUERIES.items()
        }


def main(reports: int, out: Path | None) -> int:
    """Measure, print, compare with the limit."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # the child works in a folder of its own
    with database() as (folder, url):
        engine = make_engine(url)
        upgrade(engine)
        settings = WorkerSettings(database_url=SecretStr(url), home=folder / "home")
        delays = delays_s(engine, run_job(engine, settings, reports))
        engine.dispose()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}")
    late = False
    for kind, found in delays.items():
        p50, p99, longest = np.percentile(found, [50, 99, 100])
        late |= p99 > LIMIT_S
        verdict = "ok" if p99 <= LIMIT_S else "OVER"
        print(
            f"  {kind:8} {len(found):5} rows   p50 {p50:.3f} s   p99 {p99:.3f} s   max {longest:.3f} s   "
            f"limit {LIMIT_S:g} s   {verdict}"
        )
    write_result({"delay_s": delays, "cores": os.cpu_count(), "load": load}, out)
    return int(late)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=400)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sys.exit(main(arguments.reports, arguments.out))
