"""The local Postgres: who may reach it, what survives, and that nothing of it remains."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from services.local.errors import AlreadyRunningError, ClusterVersionError, StartError
from services.local.postgres import LocalPostgres


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def local(folder: Path, **options: object) -> LocalPostgres:
    return LocalPostgres(folder, fsync=False, **options)


@pytest.mark.parametrize("major", [16, 18])
def test_both_majors_of_the_wheel_serve_the_octavo_database(open_folder: Path, major: int):
    with local(open_folder / "postgres", major=major) as server, connect(server.url) as connection:
        assert connection.info.server_version // 10000 == major
        assert connection.info.dbname == "octavo"
        superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert superuser == (False,)


def test_only_this_machine_with_the_password_gets_in(open_folder: Path):
    with local(open_folder / "postgres") as server:
        listening = [c for c in psutil.Process(server.process.pid).net_connections() if c.status == "LISTEN"]
        assert {(c.laddr.ip, c.laddr.port) for c in listening} == {("127.0.0.1", server.port)}
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host="127.0.0.1", port=server.port, user="octavo", password="guess", dbname="octavo")
        password = open_folder / "postgres" / "password"
        assert password.stat().st_mode & 0o777 == 0o600
        assert server._data.stat().st_mode & 0o077 == 0


def test_data_and_port_survive_a_restart_and_a_kill(open_folder: Path):
    server = local(open_folder / "postgres")
    with server, connect(server.url) as connection:
        port = server.port
        connection.execute("CREATE TABLE kept (n int)")
    server.start()
    with connect(server.url) as connection:
        connection.execute("INSERT INTO kept VALUES (7)")
    server.process.kill()
    server.process.wait()
    server.stop()
    with local(open_folder / "postgres") as again, connect(again.url) as connection:
        assert again.port == port
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_second_start_of_one_folder_is_refused_with_the_holder(open_folder: Path):
    with (
        local(open_folder / "postgres"),
        pytest.raises(AlreadyRunningError, match=rf"already runs, held by process {os.getpid()}\b"),
    ):
        local(open_folder / "postgres").start()


def test_a_pid_file_that_names_a_stranger_is_ignored(open_folder: Path):
    server = local(open_folder / "postgres")
    with server:
        running = (server._data / "postmaster.pid").read_text()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stale = server._data / "postmaster.pid"
        stale.write_text("\n".join([str(stranger.pid), *running.splitlines()[1:]]))
        shutil.chown(stale, server._data.owner())
        with server, connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


_STARTER = """
import sys
from pathlib import Path
from services.local.postgres import LocalPostgres
server = LocalPostgres(Path(sys.argv[1]), fsync=False)
server.start()
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_nothing_remains_when_the_starter_is_killed(open_folder: Path):
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(open_folder / "postgres")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        postmaster = psutil.Process(int(starter.stdout.readline()))
        everyone = [postmaster, *postmaster.children(recursive=True)]
        starter.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(everyone, timeout=30)
    assert alive == []


def test_a_cluster_of_a_missing_major_says_how_to_carry_the_data_over(open_folder: Path):
    server = local(open_folder / "postgres")
    with server:
        pass
    (server._data / "PG_VERSION").write_text("12\n")
    with pytest.raises(ClusterVersionError, match=r"made by Postgres 12; installed are 18 and 16.*pg_dump"):
        server.start()


def test_a_wanted_major_other_than_the_clusters_is_refused(open_folder: Path):
    with local(open_folder / "postgres", major=16):
        pass
    with pytest.raises(ClusterVersionError, match="holds a cluster of Postgres 16, not 18"):
        local(open_folder / "postgres", major=18).start()
    with local(open_folder / "postgres") as server:
        assert server.major == 16


def test_a_taken_port_is_named_in_the_error_with_the_log(open_folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"(?s)Postgres ended with code.*port.*{port}|could not bind"):
            local(open_folder / "postgres", port=port).start()
    with local(open_folder / "postgres", port=port) as server:
        assert server.port == port


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that its server's account cannot reach")
def test_a_closed_folder_of_root_gets_a_place_that_the_account_reaches(open_folder: Path):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = local(closed / "postgres")
    try:
        with server, connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not server._data.is_relative_to(closed)
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree((closed / "postgres" / "location").read_text().strip())
