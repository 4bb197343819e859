"""The relay and a worker as real processes beside a real Postgres and Valkey, for tests that need the whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
from sklearn.datasets import load_digits
from sqlalchemy import Engine, select

from libs.data.manifest import Manifest
from libs.data.write import write_arrays_dataset
from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, JobAttempt, JobCheckpoint, JobEvent, ModelVersion
from libs.jobs.reports import attempts
from libs.jobs.spec import JobSpec, parse_spec
from libs.jobs.states import TERMINAL
from libs.jobs.submit import submit
from libs.registry.artifacts import ArtifactStore
from libs.registry.datasets import create_version, mark_ready, mark_uploaded
from tests.support.scripted_method import chain_after
from tests.support.waiting import until


class Platform:
    """Starts, freezes and kills our processes; reads what they wrote."""

    def __init__(self, engine: Engine, database_url: str, broker_url: str, home: Path) -> None:
        self.engine = engine
        self.home = home
        self.store = ArtifactStore((home / "artifacts").as_uri())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "OCTAVO_DATABASE_URL": database_url,
            "OCTAVO_BROKER_URL": broker_url,
            "OCTAVO_HOME": str(home),
            "OCTAVO_LEASE_S": "2",
            "OCTAVO_HEARTBEAT_S": "0.3",
            "OCTAVO_REAP_EVERY_S": "0.2",
            "OCTAVO_RING_AGAIN_S": "1",
            "OCTAVO_RETRY_BACKOFF_S": "0.1",
            "OCTAVO_STOP_GRACE_S": "20",
            "OCTAVO_WORKER_FLUSH_S": "0.1",
            "OCTAVO_TEST_CONTROL": str(home / "control"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        (home / "control").mkdir()
        self.allow(0)

    def start(self, name: str, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process of ours; its log is `<home>/<name>.log`."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**self.environment, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.processes[name]

    def start_relay(self, name: str = "relay") -> subprocess.Popen[bytes]:
        return self.start(name, "services.worker.relay")

    def start_worker(self, name: str = "worker", **environment: str) -> subprocess.Popen[bytes]:
        return self.start(name, "services.worker", **environment)

    def start_scripted_worker(self, name: str = "worker", **environment: str) -> subprocess.Popen[bytes]:
        """A worker whose trainings do the steps that `allow` lets them do."""
        return self.start(name, "tests.support.scripted_worker", name, **environment)

    def allow(self, steps: int) -> None:
        """Let scripted trainings do `steps` steps in all."""
        temporary = self.home / "control" / "allow.new"
        temporary.write_text(str(steps))
        temporary.replace(self.home / "control" / "allow")

    def control(self, name: str, content: str = "") -> None:
        """Write a file that steers scripted trainings."""
        (self.home / "control" / name).write_text(content)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(30)

    def terminate(self, name: str) -> int:
        """SIGTERM, and wait; its exit status."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(60)

    def freeze(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        for name in self.processes:  # shown by pytest when the test failed
            print(f"--- {name}\n{self.log(name)[-3000:]}")
        for process in self.processes.values():
            process.kill()
            process.wait(30)

    def log(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def submit(self, spec: JobSpec, **options: object) -> UUID:
        with transaction(self.engine) as session:
            return submit(session, DEFAULT_PROJECT_ID, spec, **options).id  # type: ignore[arg-type]

    def begun(self, steps: int, **changes: Any) -> UUID:
        """A scripted training that waits after so many steps, on a worker of its own; `changes` as of its spec."""
        self.start_relay()
        self.start_scripted_worker()
        self.allow(steps)
        job_id = self.submit(scripted_training(**changes))
        self.wait_for_step(job_id, steps)
        return job_id

    def job(self, job_id: UUID) -> Job:
        with transaction(self.engine) as session:
            return session.get_one(Job, job_id)

    def events(self, job_id: UUID) -> Sequence[JobEvent]:
        with transaction(self.engine) as session:
            return session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)).all()

    def versions(self, job_id: UUID) -> Sequence[ModelVersion]:
        with transaction(self.engine) as session:
            return session.scalars(select(ModelVersion).where(ModelVersion.job_id == job_id)).all()

    def wait_for(self, job_id: UUID, *statuses: str, timeout_s: float = 240.0) -> Job:
        """The job once it has one of these states, or any terminal one when none is named."""
        wanted = statuses or tuple(TERMINAL)

        def reached() -> Job | None:
            job = self.job(job_id)
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended:
                raise AssertionError(f"{ended} ended by itself")
            if job.status in TERMINAL and job.status not in wanted:
                raise AssertionError(
                    f"job is {job.status}: {job.status_reason} {job.error}\n{self.log('worker')[-3000:]}"
                )
            return job if job.status in wanted else None

        try:
            return until(reached, f"job {wanted}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log('relay')[-2000:]}\n{self.log('worker')[-4000:]}") from None

    def wait_for_step(self, job_id: UUID, step: int) -> None:
        """Until the checkpoint of `step` is published."""
        found = select(JobCheckpoint.step).where(JobCheckpoint.job_id == job_id)

        def published() -> bool:
            with transaction(self.engine) as session:
                return max(session.scalars(found), default=0) >= step

        try:
            until(published, f"checkpoint of step {step}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log('relay')[-2000:]}\n{self.log('worker')[-4000:]}") from None

    def attempts(self, job_id: UUID) -> Sequence[JobAttempt]:
        with transaction(self.engine) as session:
            return attempts(session, job_id)

    def model_file(self, version: ModelVersion, name: str = "model.onnx") -> bytes:
        with self.store.open(f"{version.uri}/{name}") as file:
            return file.read()

    def steps_begun_at(self, job_id: UUID) -> list[int]:
        """For each attempt of a scripted training: the step it went on from."""
        return [e.data["fields"]["step"] for e in self.events(job_id) if e.data.get("message") == "begins"]

    def children(self) -> list[psutil.Process]:
        """Every process of an attempt of this platform, wherever it hangs in the tree."""
        found = []
        for process in psutil.process_iter():
            try:
                if any(str(self.home / "attempts") in part for part in process.cmdline()):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


@contextmanager
def platform(engine: Engine, database_url: str, broker_url: str, home: Path) -> Iterator[Platform]:
    """A platform without processes yet; those that were started end with the block."""
    home.mkdir(parents=True, exist_ok=True)
    made = Platform(engine, database_url, broker_url, home)
    try:
        yield made
    finally:
        made.close()


def scripted_training(steps: int = 6, **changes: Any) -> JobSpec:
    """A job of the scripted method; it needs no data."""
    return parse_spec({"method": "supervised", "name": "scripted", "config": {"max_steps": steps}, **changes})


def assert_ended_once(platform: Platform, job_id: UUID, steps: int = 6, seed: int = 0) -> None:
    """One version, whose file is what an uninterrupted run makes; events without a gap; nothing left running."""
    (version,) = platform.versions(job_id)
    assert platform.model_file(version).decode() == chain_after(steps, seed)
    events = platform.events(job_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.data["to"] for event in events if event.kind == "status"].count("succeeded") == 1
    until(lambda: not platform.children(), "no child process left")


def add_digits(platform: Platform, pictures: int = 240, name: str = "digits") -> None:
    """Register scikit-learn's 8x8 digits as a ready data set."""
    digits = load_digits()
    folder = platform.home / f"made-{name}"
    images = (digits.images[:pictures] * 15.9).astype("uint8")
    manifest = write_arrays_dataset(
        folder, images, digits.target[:pictures].astype("int64"), [str(n) for n in range(10)]
    )
    add_ready(platform, name, folder, manifest)


def add_ready(platform: Platform, name: str, folder: Path, manifest: Manifest) -> None:
    """Register a validated folder as a ready data set."""
    stored = platform.store.put_folder(folder)
    with transaction(platform.engine) as session:
        version = create_version(session, DEFAULT_PROJECT_ID, name, {"upload": "made.zip"})
        mark_uploaded(session, version.id, "file:///nowhere", 0, uuid4())
        mark_ready(session, version.id, stored, manifest, {})
