"""The local Valkey: who may reach it, and that it never drops a message to make room."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import redis
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from services.local.errors import AlreadyRunningError
from services.local.valkey import LocalValkey, session_cache
from services.recommender.memory_settings import MemorySettings
from services.recommender.sessions.store import SessionEvent, SessionStore


def test_it_wants_the_password_and_refuses_to_evict(open_folder: Path):
    with LocalValkey(open_folder / "valkey") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        listening = [c for c in psutil.Process(server.process.pid).net_connections() if c.status == "LISTEN"]
        assert {(c.laddr.ip, c.laddr.port) for c in listening} == {("127.0.0.1", server.port)}
        command = " ".join(psutil.Process(server.process.pid).cmdline())
        assert server._password not in command


def test_settings_reach_it_and_the_port_is_kept(open_folder: Path):
    server = LocalValkey(open_folder / "valkey", settings={"appendonly": "yes"})
    with server:
        port = server.port
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
    with server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.get("kept") == "yes"
        assert server.port == port


def test_a_full_session_cache_forgets_what_was_used_longest_ago_and_answers_as_before(open_folder: Path):
    def events(_: UUID, session_id: str, limit: int) -> list[SessionEvent]:
        return [
            SessionEvent(session_id, n, f"{session_id}-{n:0100d}", datetime.fromtimestamp(n, UTC)) for n in range(limit)
        ]

    with session_cache(open_folder / "sessions", megabytes=4) as server:
        settings = MemorySettings(sessions_url=SecretStr(server.url))
        store = SessionStore(settings, events, CollectorRegistry())
        for again in range(2):
            for session in map(str, range(300)):  # 20 kB each
                found = store.read(UUID(int=1), session).items
                assert found == [event.item_id for event in events(UUID(int=1), session, settings.session_items)], again
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            info = client.info()
            kept = {int(key.rpartition(":")[2]) for key in client.scan_iter()}
        store.close()
    assert info["maxmemory_policy"] == "allkeys-lru"
    assert info["maxmemory"] == 4 * 2**20
    assert info["evicted_keys"] > 0
    assert 299 in kept
    assert len(kept) < 300


def test_a_second_start_of_one_folder_is_refused(open_folder: Path):
    with (
        LocalValkey(open_folder / "valkey"),
        pytest.raises(AlreadyRunningError, match=rf"held by process {os.getpid()}\b"),
    ):
        LocalValkey(open_folder / "valkey").start()


_STARTER = """
import sys
from pathlib import Path
from services.local.valkey import LocalValkey
server = LocalValkey(Path(sys.argv[1]))
server.start()
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_when_its_starter_is_killed(open_folder: Path):
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(open_folder / "valkey")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        server = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
        server.wait(30)
    assert not server.is_running()
