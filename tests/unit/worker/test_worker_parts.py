"""The worker's small parts: log budget, devices, environment, causes of death, queues."""

import errno
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from libs.jobs.spec import Resources, parse_spec
from libs.jobs.states import ExitReason
from libs.registry.artifacts import ArtifactError, ArtifactNotFound, ArtifactRefused, DigestMismatch
from libs.registry.errors import DatasetNotFound
from libs.settings import WrongSettings
from services.worker.attempt_folder import AttemptFolder, remove_abandoned
from services.worker.child import describe_failure
from services.worker.child_process import ChildProcess
from services.worker.devices import Assignment, DevicePool, Gpu, NoLongerWanted, NoSuchDevice, _visible
from services.worker.launch import child_environment, is_secret, python_child
from services.worker.log_budget import LogBudget, storable
from services.worker.messages import message_adapter
from services.worker.oom import OutOfMemoryWatch
from services.worker.patience import Patience
from services.worker.supervisor import death, is_users_error, wanted_resources
from services.worker.worker import chosen_queues

GPUS = [Gpu(f"GPU-{letter}", "test", 1000) for letter in "abc"]


def never() -> bool:
    return False


def test_log_is_bounded_by_rate_and_says_how_much_was_dropped():
    now = [0.0]
    budget = LogBudget(lines_per_s=3, lines=100, clock=lambda: now[0])
    kept = [entry for n in range(10) for entry in budget.admit("info", f"line {n}")]
    assert [data["message"] for _, data in kept] == ["line 0", "line 1", "line 2"]
    now[0] = 1.0
    (_, dropped), (_, line) = budget.admit("info", "later")
    assert (dropped["fields"], line["message"]) == ({"dropped": 7}, "later")
    assert budget.take_dropped() == []


def test_log_is_bounded_in_all():
    now = [0.0]
    budget = LogBudget(lines_per_s=1000, lines=2, clock=lambda: now[0])
    assert sum(len(budget.admit("info", "x")) for _ in range(5)) == 2
    assert budget.take_dropped()[0][1]["fields"] == {"dropped": 3}


def test_log_line_is_cut_and_made_storable():
    ((_, data),) = LogBudget(10, 10).admit("info", "a\0b\ud800" + "x" * 10_000, {"k": "\0", "n": 1})
    assert data["message"].startswith("a\ufffdb?x")
    assert len(data["message"]) == 4001
    assert data["fields"] == {"k": "\ufffd", "n": 1}
    assert storable("plain äöü") == "plain äöü"


def test_fields_that_are_too_large_are_left_out():
    ((_, data),) = LogBudget(10, 10).admit("info", "m", {"k": "x" * 10_000})
    assert data["fields"] == {"omitted": "fields were too large"}


def test_auto_takes_a_gpu_where_there_is_one(tmp_path: Path):
    with DevicePool([], tmp_path).assigned(Resources(), never) as assignment:
        assert assignment == Assignment("cpu")
        assert assignment.environment() == {"CUDA_VISIBLE_DEVICES": ""}
    with DevicePool(GPUS, tmp_path).assigned(Resources(), never) as assignment:
        assert (assignment.device, assignment.environment()) == ("cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-a"})


def test_jobs_at_the_same_time_get_different_gpus_and_give_them_back(tmp_path: Path):
    pool, of_another_worker = DevicePool(GPUS, tmp_path), DevicePool(GPUS[1:], tmp_path)
    with (
        pool.assigned(Resources(device="cuda", gpus=2), never) as first,
        of_another_worker.assigned(Resources(device="cuda"), never) as second,
    ):
        assert {gpu.uuid for gpu in first.gpus} | {gpu.uuid for gpu in second.gpus} == {"GPU-a", "GPU-b", "GPU-c"}
        answers = iter([False, True])
        with pytest.raises(NoLongerWanted), pool.assigned(Resources(), lambda: next(answers)):
            pass
    with pool.assigned(Resources(device="cuda", gpus=3), never) as third:
        assert third.processes == 3


@pytest.mark.parametrize(("gpus", "count", "message"), [([], 1, "no GPU that nvidia-smi can see"), (GPUS, 4, "3 GPUs")])
def test_cuda_that_is_not_there_is_refused_clearly(gpus: list[Gpu], count: int, message: str, tmp_path: Path):
    wanted = Resources(device="cuda", gpus=count)
    with pytest.raises(NoSuchDevice, match=message), DevicePool(gpus, tmp_path).assigned(wanted, never):
        pass
    assert NoSuchDevice.user_error


def test_a_job_takes_gpus_that_become_free(tmp_path: Path):
    pool = DevicePool(GPUS, tmp_path)
    with ThreadPoolExecutor(1) as threads:
        looked = threading.Event()

        def take_all() -> int:
            with pool.assigned(Resources(device="cuda", gpus=3), lambda: looked.set() or False) as assignment:
                return len(assignment.gpus)

        with pool.assigned(Resources(), never):
            waiting = threads.submit(take_all)
            looked.wait(30)
        assert waiting.result(30) == 3


@pytest.mark.parametrize(
    ("method", "config", "device"),
    [
        ("evaluate", {}, "cpu"),
        ("validate-dataset", {}, "cpu"),
        ("estimate", {"of": "frskd"}, "auto"),
        ("frskd", {}, "auto"),
    ],
)
def test_a_task_that_computes_on_the_cpu_takes_no_gpu(method: str, config: dict[str, str], device: str):
    assert wanted_resources(parse_spec({"method": method, "config": config})).device == device
    told = parse_spec({"method": method, "config": config, "resources": {"device": "cuda"}})
    assert wanted_resources(told).device == "cuda"


@pytest.mark.parametrize(
    ("setting", "expected"), [(None, "abc"), ("", ""), ("1", "b"), ("2,0", "ca"), ("GPU-b,7,0", "b"), ("-1", "")]
)
def test_visible_devices_are_read_as_cuda_reads_them(setting: str | None, expected: str):
    assert [gpu.uuid[-1] for gpu in _visible(GPUS, setting)] == list(expected)


SECRETS = ["OCTAVO_DATABASE_URL", "OCTAVO_BROKER_URL", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "PGPASSWORD",
           "HF_TOKEN", "OCTAVO_API_KEY", "MY_PASSWORD"]  # fmt: skip


def test_child_gets_no_credentials_and_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    ours = dict.fromkeys(SECRETS, "secret") | {"PATH": "/bin", "OCTAVO_HOME": "/home", "OCTAVO_MIRROR": "/mirror"}
    child = child_environment(ours, Assignment("cpu", processes=2), slots=2)
    assert "secret" not in child.values()
    assert (child["PATH"], child["OCTAVO_HOME"], child["OCTAVO_MIRROR"]) == ("/bin", "/home", "/mirror")
    assert child["OMP_NUM_THREADS"] == "2"
    assert not is_secret("CUDA_HOME")


def test_several_processes_are_started_by_torchrun(tmp_path):
    assert "torch.distributed.run" not in python_child(tmp_path, 1)
    assert "--nproc-per-node=2" in python_child(tmp_path, 2)


def test_cause_of_death_is_told():
    reason, failure = death(-signal.SIGKILL, memory_ran_out=True)
    assert (reason, failure.error) == (ExitReason.OUT_OF_MEMORY, "OutOfMemory")
    reason, failure = death(-signal.SIGSEGV, memory_ran_out=True)
    assert (reason, failure.error) == (ExitReason.ERROR, "SIGSEGV")
    reason, failure = death(3, memory_ran_out=False)
    assert (reason, failure.error) == (ExitReason.ERROR, "ChildDied")
    assert "status 3" in failure.message


def test_kernels_count_of_kills_is_compared(tmp_path):
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 1\noom_kill 4\n")
    watch = OutOfMemoryWatch((counter,))
    assert not watch.happened()
    counter.write_text("low 0\noom 2\noom_kill 5\n")
    assert watch.happened()
    assert not OutOfMemoryWatch((tmp_path / "absent",)).happened()


def test_failures_are_classified():
    with pytest.raises(ValidationError) as invalid:
        Resources(gpus=0)
    assert describe_failure(invalid.value).user_error
    assert describe_failure(NoSuchDevice("no")).user_error
    assert not describe_failure(RuntimeError("x")).user_error
    assert describe_failure(MemoryError()).out_of_memory
    assert describe_failure(RuntimeError("DefaultCPUAllocator: can't allocate memory")).out_of_memory
    assert is_users_error(DatasetNotFound("none"))
    assert not is_users_error(OSError("disk"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_numbers_json_does_not_know_cross_the_pipe(value: float):
    from services.worker.messages import MetricReported

    sent = MetricReported(name="train/loss", value=value, step=1)
    assert str(message_adapter.validate_json(sent.model_dump_json())) == str(sent)


def test_queues_are_chosen_by_what_there_is():
    assert chosen_queues("auto", has_gpu=False) == ["short", "cpu"]
    assert chosen_queues("auto", has_gpu=True) == ["short", "cpu", "gpu"]
    assert chosen_queues("gpu, cpu", has_gpu=False) == ["gpu", "cpu"]
    with pytest.raises(WrongSettings, match=r"OCTAVO_WORKER_QUEUES: 'tpu' .* queues are short, cpu, gpu"):
        chosen_queues("tpu", has_gpu=False)


def test_what_a_killed_worker_left_is_removed_and_what_is_at_work_stays(tmp_path: Path):
    held, left = (AttemptFolder(tmp_path / "job" / epoch) for epoch in ("2", "1"))
    held.make()
    left.make()
    assert remove_abandoned(tmp_path) == 0
    left._lock.close()  # as the kernel does for a process that is gone
    assert remove_abandoned(tmp_path) == 1
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == ["2", "2.lock"]
    held.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_cannot_be_started_leaves_nothing_open(tmp_path: Path):
    folder = AttemptFolder(tmp_path / "job" / "1")
    folder.make()
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        ChildProcess(folder, lambda line: None, lambda line: None).start([str(tmp_path / "nothing")], {})
    assert psutil.Process().num_fds() <= before
    folder.remove()


def failing(*errors: OSError) -> Callable[[], str]:
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_a_store_that_fails_is_waited_for():
    told: list[OSError] = []
    paused: list[float] = []
    patience = Patience(600.0, never, paused.append, told.append)
    errors = [ArtifactError("away"), OSError(errno.ENOSPC, "full"), ArtifactError("away")]
    assert patience.until_done(failing(*errors)) == "done"
    assert (told, paused) == (errors, [0.5, 1.0, 2.0])
    with pytest.raises(ArtifactError, match="away"):
        Patience(0.0, never, paused.append, told.append).until_done(failing(*errors))
    with pytest.raises(NoLongerWanted):
        Patience(600.0, lambda: True, paused.append, told.append).until_done(failing(*errors))


@pytest.mark.parametrize(
    "error", [ArtifactNotFound("gone"), ArtifactRefused("no"), DigestMismatch("else"), OSError("a link")]
)
def test_what_no_waiting_helps_is_not_waited_for(error: OSError):
    with pytest.raises(type(error)):
        Patience(600.0, never, lambda _: None, lambda _: None).until_done(failing(error))
