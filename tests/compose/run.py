"""`make compose-test`: the stack of docker-compose.yml for real, in a project of its own that it takes down again.

Builds the images, starts the core, runs a training by the command line, kills containers' processes in turn under a
running job, scales the workers, stops them under a job, gives every service wrong input, and says what each step took.
Needs a Docker engine with Compose v2. --no-build uses the images that are there, --keep leaves the stack running,
--profiles observability,s3 starts these too: artifacts then lie in the store of the profile, and Prometheus has to
scrape every process.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from libs.client.client import Octavo
from libs.client.errors import OctavoError
from services.local.demo import digits, png, write_zip
from services.local.process import free_port

ROOT = Path(__file__).parents[2]
LONG_RUNNING = (
    "postgres",
    "broker",
    "sessions",
    "gateway",
    "relay",
    "worker-cpu",
    "worker-short",
    "model-server",
    "recommender",
)
OF_PROFILES = {"observability": ("prometheus", "grafana"), "s3": ("s3",)}
OURS = ("gateway", "relay", "worker-cpu", "model-server", "recommender")
SETTINGS = {"model": "resnet8", "lr": 0.1}


class Stack:
    """One Compose project with these profiles, its secrets in `folder`."""

    def __init__(self, folder: Path, profiles: Sequence[str] = ()) -> None:
        self.folder, self.profiles = folder, profiles
        self.long_running = (*LONG_RUNNING, *(name for profile in profiles for name in OF_PROFILES[profile]))
        self.port = free_port()
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": "octavo-test",
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}:{Path(__file__).with_name('stack.yml')}",
            "COMPOSE_PROFILES": ",".join(profiles),
            "OCTAVO_SECRETS": str(folder / "secrets"),
            "OCTAVO_PORT": str(self.port),
            "OCTAVO_LEASE_S": "10",
            "OCTAVO_HEARTBEAT_S": "2",
            "OCTAVO_RING_AGAIN_S": "5",
            "WORKER_CPUS": str(min(4, os.cpu_count() or 1)),
        }
        if "s3" in profiles:
            self.environment |= {
                "OCTAVO_EXTRAS": "s3",
                "OCTAVO_ARTIFACTS_URL": "s3://octavo/artifacts",
                "AWS_ENDPOINT_URL": "http://s3:8333",
            }
        subprocess.run([ROOT / "docker" / "secrets.sh", folder / "secrets"], check=True, stdout=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = (folder / "secrets" / "api_key").read_text().strip()
        self.environment |= {"OCTAVO_URL": self.url, "OCTAVO_API_KEY": self.key, "OCTAVO_HOME": str(folder / "home")}

    def compose(
        self, *arguments: str, check: bool = True, timeout_s: float = 1800.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose ARGUMENTS`."""
        command = ["docker", "compose", "--progress=plain", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def containers(self, service: str) -> list[dict[str, Any]]:
        """`docker inspect` of the service's containers."""
        ids = self.compose("ps", "--all", "--quiet", service).stdout.split()
        return (
            json.loads(subprocess.run(["docker", "inspect", *ids], capture_output=True, check=True).stdout)
            if ids
            else []
        )

    def wait_healthy(self, services: Sequence[str] = (), timeout_s: float = 300.0) -> None:
        """Until each container of each service is healthy; of all services, if none is named."""
        services = services or self.long_running
        until(lambda: all(map(self._is_healthy, services)), f"{', '.join(services)} healthy", timeout_s)

    def _is_healthy(self, service: str) -> bool:
        found = self.containers(service)
        return bool(found) and all(one["State"].get("Health", {}).get("Status") == "healthy" for one in found)

    def kill(self, service: str) -> None:
        """SIGKILL the first process of a container, and with it all others: a crash, after which the restart policy
        counts. (`docker kill` would count as stopped by hand.) Returns when the container runs again."""
        (before,) = self.containers(service)
        os.kill(before["State"]["Pid"], signal.SIGKILL)

        def runs_again() -> bool:
            (now,) = self.containers(service)
            return now["RestartCount"] > before["RestartCount"] and now["State"]["Running"]

        until(runs_again, f"{service} is started again")

    def refused(self, service: str, *options: str) -> str:
        """What the service prints when it ends at once with these options; it has to fail."""
        done = self.compose("run", "--rm", "--no-deps", "--no-TTY", *options, service, check=False, timeout_s=180.0)
        assert done.returncode != 0, f"{service} {options} ended with 0: {done.stdout}"
        return done.stdout + "\n".join(line for line in done.stderr.splitlines() if "Container " not in line)

    def octavo(self, *arguments: str) -> str:
        """Run the command line as a user would."""
        command = [str(Path(sys.executable).with_name("octavo")), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def until(condition: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
    """Wait for a condition, or fail naming it."""
    gives_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > gives_up_at:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.5)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done and how long it took."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {title}", flush=True)


def sizes(stack: Stack) -> None:
    """Image sizes, and that no torch is where none belongs."""
    base = image_size(stack.environment.get("BASE_IMAGE", "python:3.11.13-slim-bookworm"))
    version = stack.environment.get("OCTAVO_VERSION", "0.1.0")
    for name in ("gateway", "inference", "worker"):
        size = image_size(f"octavo-{name}:{version}")
        print(f"           octavo-{name}: {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} MB of it on top of the base")
        if name != "worker":
            code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
            subprocess.run(["docker", "run", "--rm", f"octavo-{name}:{version}", "python", "-c", code], check=True)


def image_size(image: str) -> int:
    found = subprocess.run(["docker", "image", "inspect", image, "--format={{.Size}}"], capture_output=True, check=True)
    return int(found.stdout)


def is_confined(stack: Stack) -> None:
    """Every service of ours runs as user 10001 without capabilities on a read-only root, and only the gateway is
    published."""
    for service in stack.long_running:
        for one in stack.containers(service):
            assert one["HostConfig"]["ReadonlyRootfs"], service
            assert one["HostConfig"]["CapDrop"] == ["ALL"], service
            assert bool(one["HostConfig"]["PortBindings"]) == (service == "gateway"), service
    for service in (*OURS, "worker-short"):
        shown = stack.compose(
            "exec", "--no-TTY", service, "sh", "-c", "id -u; grep CapEff /proc/1/status; touch /x 2>&1 || true"
        )
        user, capabilities, touched = shown.stdout.splitlines()
        assert (user, capabilities.split()[1]) == ("10001", "0" * 16), (service, shown.stdout)
        assert "Read-only file system" in touched, service


def readme_job(stack: Stack) -> None:
    """What the README shows, by the command line."""
    pictures, answers = digits()
    write_zip(pictures, answers, stack.folder / "digits.zip")
    (stack.folder / "picture.png").write_bytes(png(pictures[0]))
    stack.octavo("datasets", "create", "digits", "--images", "digits.zip")
    settings = [f"--set={name}={value}" for name, value in {**SETTINGS, "epochs": 2}.items()]
    stack.octavo("jobs", "submit", "frskd", "--dataset", "digits", *settings, "--follow")
    stack.octavo("deploy", "digits-frskd")
    predicted = json.loads(stack.octavo("predict", "digits-frskd", "picture.png", "--json"))
    assert len(predicted[0]["predictions"][0]["label"]) == 1, predicted


def scraped(stack: Stack) -> None:
    """Prometheus finds each process of ours by the networks that Compose made, and reads every rule."""

    def asked(path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        said = stack.compose("exec", "--no-TTY", "prometheus", "wget", "-q", "-O-", url).stdout
        return json.loads(said)["data"]

    def all_up() -> bool:
        targets = asked("targets?state=active")["activeTargets"]
        up = sorted(one["labels"]["job"] for one in targets if one["health"] == "up")
        return up == ["gateway", "model-server", "recommender", "relay", "worker", "worker"]

    until(all_up, "every target is up", 120.0)

    def all_evaluated() -> bool:
        return all(rule["health"] == "ok" for group in asked("rules")["groups"] for rule in group["rules"])

    until(all_evaluated, "every rule is evaluated", 60.0)
    assert asked("rules")["groups"]


def in_the_bucket(stack: Stack) -> None:
    """What the job left lies in the profile's store and not in the volume; who has other keys does not start."""
    volume = stack.compose("exec", "--no-TTY", "gateway", "find", "/artifacts", "-type", "f").stdout
    assert not volume.strip(), volume
    code = "import fsspec; print(len(fsspec.filesystem('s3').find('octavo/artifacts')))"
    assert int(stack.compose("exec", "--no-TTY", "gateway", "python", "-c", code).stdout) > 0
    for service in ("gateway", "worker-cpu"):
        wrong = ("--env", "AWS_ACCESS_KEY_ID=nobody", "--env", "AWS_SECRET_ACCESS_KEY=nothing")
        one_line(stack.refused(service, *wrong), "the artifact store s3://octavo/artifacts refuses: ")


def submit(octavo: Octavo, epochs: int, name: str) -> str:
    return octavo.jobs.submit(
        "frskd", name=name, datasets={"train": "digits"}, config={**SETTINGS, "epochs": epochs}
    ).id


def runs(octavo: Octavo, job_id: str) -> bool:
    """Whether the job runs and has got somewhere."""
    try:
        job = octavo.jobs.get(job_id)
    except OctavoError:
        return False  # the gateway, or its Postgres, starts again
    assert not job.ended, (job.status, job.reason)
    return job.status == "running" and job.progress > 0


def ended_once(octavo: Octavo, job_id: str, timeout_s: float = 600.0) -> dict[str, Any]:
    """The job, which has succeeded once, with a history without a gap and one model version."""
    job = octavo.jobs.wait(job_id, timeout_s)
    events = list(octavo.jobs.events(job_id))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    ends = [event for event in events if event.kind == "status" and event.data.get("to") == "succeeded"]
    assert len(ends) == 1, ends
    versions = [version for model in octavo.models.list() for version in octavo.models.versions(model.name)]
    made = [version for version in versions if version.raw["job_id"] == job_id]
    assert len(made) == 1, made
    return job.raw


def kills(stack: Stack, octavo: Octavo) -> None:
    """Worker, relay, gateway, broker and Postgres die in turn under one job and with one that waits behind it."""
    job_id, behind = submit(octavo, 20, "killed"), submit(octavo, 1, "behind")
    for service in ("worker-cpu", "gateway", "relay", "broker", "postgres"):
        until(lambda: runs(octavo, job_id), f"the job runs before {service} is killed", 300.0)
        with step(f"  {service} killed; it runs again"):
            stack.kill(service)
    stack.wait_healthy()
    with step("  the job and the one behind it ended, once each"):
        job = ended_once(octavo, job_id, 900.0)
        ended_once(octavo, behind)
    attempts = [one["exit_reason"] for one in job["attempts"]]
    assert len(attempts) >= 2, attempts
    assert attempts[-1] == "ok", attempts
    print(f"           attempts of the job: {', '.join(map(str, attempts))}")


def three_workers(stack: Stack, octavo: Octavo) -> None:
    """Scaled to three, three jobs run beside each other."""
    stack.compose("up", "--detach", "--no-recreate", "--no-build", "--scale", "worker-cpu=3", "worker-cpu")
    stack.wait_healthy(["worker-cpu"])
    assert len(stack.containers("worker-cpu")) == 3
    jobs = [submit(octavo, 4, f"beside-{number}") for number in range(3)]
    until(
        lambda: all(octavo.jobs.get(job).status == "running" for job in jobs), "three jobs run at the same time", 300.0
    )
    for job in jobs:
        ended_once(octavo, job)
    stack.compose("up", "--detach", "--no-recreate", "--no-build", "--scale", "worker-cpu=1", "worker-cpu")


def drained(stack: Stack, octavo: Octavo) -> None:
    """A worker that is stopped hands its job back with a checkpoint, and ends by itself; the job goes on later."""
    job_id = submit(octavo, 8, "handed-back")
    until(lambda: runs(octavo, job_id), "the job runs")
    stack.compose("stop", "worker-cpu")
    assert [one["State"]["ExitCode"] for one in stack.containers("worker-cpu")] == [0]
    assert octavo.jobs.get(job_id).status == "queued"
    stack.compose("start", "worker-cpu")
    job = ended_once(octavo, job_id)
    assert [one["exit_reason"] for one in job["attempts"]][-1] == "ok"
    for service in ("gateway", "relay", "model-server", "recommender"):
        stack.compose("stop", service)
        assert [one["State"]["ExitCode"] for one in stack.containers(service)] == [0], service
    stack.compose("up", "--detach", "--no-build")
    stack.wait_healthy()


def wrong_input(stack: Stack) -> None:
    """A broken setting, a missing secret, an unmigrated and a newer database, a port taken."""
    unmigrated = "OCTAVO_DATABASE_URL=postgresql+psycopg://octavo@postgres:5432/postgres"
    sql = ["exec", "--no-TTY", "postgres", "psql", "--username=octavo", "--host=/run/postgresql", "--command"]
    (revision,) = (
        line.strip()
        for line in stack.compose(*sql, "SELECT version_num FROM alembic_version").stdout.splitlines()
        if line.strip().isdigit()
    )
    for service in OURS:
        one_line(
            stack.refused(service, "--env", "OCTAVO_LEASE_S=soon"), "OCTAVO_LEASE_S: Input should be a valid number"
        )
        missing = "OCTAVO_DATABASE_PASSWORD_FILE=/run/secrets/nothing"
        one_line(
            stack.refused(service, "--env", missing), "/run/secrets/nothing cannot be read: No such file or directory"
        )
        one_line(stack.refused(service, "--env", unmigrated), "The database is at migration none")
    try:
        stack.compose(*sql, "UPDATE alembic_version SET version_num = '9999'")
        for service in (*OURS, "migrate"):
            one_line(stack.refused(service), "migration 9999, which this code does not know")
    finally:
        stack.compose(*sql, f"UPDATE alembic_version SET version_num = '{revision}'")
    said = stack.refused("gateway", "--publish", f"127.0.0.1:{stack.port}:8000")
    assert "port is already allocated" in said or "address already in use" in said, said
    moved = {**stack.environment, "OCTAVO_SECRETS": str(stack.folder / "nowhere")}
    command = ["docker", "compose", "run", "--rm", "--no-deps", "--no-TTY", "gateway"]
    done = subprocess.run(command, cwd=ROOT, env=moved, capture_output=True, text=True, check=False)
    assert done.returncode != 0, "a secret whose file is missing"
    assert "nowhere" in done.stderr, done.stderr


def one_line(said: str, wanted: str) -> None:
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    assert "does not start: " in lines[0], said
    assert wanted in lines[0], said


def taken_down(stack: Stack) -> None:
    """Nothing of the project remains."""
    stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "60")
    for kind in ("container", "volume", "network"):
        command = ["docker", kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=octavo-test"]
        command += ["--all"] if kind == "container" else []
        assert not subprocess.run(command, capture_output=True, check=True).stdout.strip(), kind


def run(stack: Stack, *, build: bool, keep: bool) -> None:
    """All steps; the logs of the stack are printed when one fails."""
    try:
        if build:
            with step("images are built"):
                stack.compose("build")
        sizes(stack)
        with step("the stack is healthy"):
            stack.compose("up", "--detach", "--no-build")
            stack.wait_healthy()
            if "s3" in stack.profiles:
                until(lambda: stack.containers("s3-bucket")[0]["State"]["Status"] == "exited", "the bucket is made")
        with step("each container is confined, and only the gateway is published"):
            is_confined(stack)
        assert httpx2.get(f"{stack.url}/readyz").status_code == 200
        with step("the README's job: upload, train, deploy, predict"):
            readme_job(stack)
        if "s3" in stack.profiles:
            with step("artifacts lie in the bucket, and wrong keys are said"):
                in_the_bucket(stack)
        if "observability" in stack.profiles:
            with step("Prometheus scrapes every process"):
                scraped(stack)
        with Octavo(stack.url, stack.key) as octavo:
            with step("kills in turn; nothing is lost"):
                kills(stack, octavo)
            with step("three workers beside each other"):
                three_workers(stack, octavo)
            with step("SIGTERM: jobs are handed back, services end by themselves"):
                drained(stack, octavo)
        with step("wrong input is refused in one line"):
            wrong_input(stack)
    except BaseException:
        print(stack.compose("logs", "--no-color", "--tail=40", check=False).stdout[-20_000:])
        print(stack.compose("ps", "--all", check=False).stdout)
        raise
    finally:
        if not keep:
            with step("the stack is taken down"):
                taken_down(stack)


def main() -> None:
    """The whole test; exit code 0 when all of it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--profiles", default="", help="observability, s3 or both, joined by a comma")
    options = parser.parse_args()
    profiles = [name for name in options.profiles.split(",") if name]
    if unknown := set(profiles) - OF_PROFILES.keys():
        parser.error(f"--profiles: {', '.join(sorted(unknown))}; there are {', '.join(OF_PROFILES)}")
    folder = Path(tempfile.mkdtemp(prefix="octavo-compose-"))
    with step("all of it"):
        run(Stack(folder, profiles), build=not options.no_build, keep=options.keep)
    if options.keep:
        print(f"The stack runs; its secrets are in {folder}/secrets.")
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
