"""Where a server may run that refuses to be root: the account, and folders this account can reach."""

import hashlib
import os
import pwd
import shutil
import stat
from pathlib import Path

from services.local.errors import NotInstalledError
from services.local.process import Account

_ACCOUNTS = ("octavo", "nobody")
_REFUGE = Path("/var/lib/octavo")


def unprivileged() -> Account | None:
    """The account to drop to, or None when we are not root and need none.

    Raises:
        NotInstalledError: we are root and the machine has neither account.
    """
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise NotInstalledError(
        f"Postgres refuses to run as root, and this machine has no account {' or '.join(_ACCOUNTS)} to drop to. "
        "Make one (`useradd --system octavo`) or run Octavo as an ordinary user."
    )


def can_reach(folder: Path, account: Account | None) -> bool:
    """Whether the account may pass through every parent of `folder`."""
    return account is None or all(_may_pass(parent, account) for parent in folder.resolve().parents)


def _may_pass(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable_folder(folder: Path, account: Account | None) -> Path:
    """`folder`, or a place under /var/lib/octavo that stands for it where the account cannot reach it.

    A root user's home is closed to others (mode 0700) and we do not open it. The stand-in is chosen once and written to
    `<folder>/location`, with a random part, so that a new folder of the same path never meets old files.
    """
    note = folder / "location"
    if note.exists():
        return Path(note.read_text().strip())
    if can_reach(folder / "inside", account):
        return folder
    place = _REFUGE / f"{folder.parent.name}-{os.urandom(4).hex()}"
    place.mkdir(parents=True, mode=0o755)
    note.write_text(f"{place}\n")
    return place


def reachable_copy(package: Path, account: Account | None) -> Path:
    """`package`'s folder, or a copy of it that the account can execute; the copy is made once per content."""
    libraries = package.with_name(f"{package.name}.libs")  # the binaries find it beside their package
    if can_reach(package / "inside", account):
        return package
    place = _REFUGE / f"{package.name}-{_fingerprint(package)}"
    if not place.exists():
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        for source in (package, libraries):
            if source.exists():
                shutil.copytree(source, unfinished / source.name, symlinks=True)
        unfinished.replace(place)
    return place / package.name


def _fingerprint(package: Path) -> str:
    files = sorted(path for path in package.rglob("*") if path.is_file() and "bin" in path.parts)
    listing = "".join(f"{path.relative_to(package)} {path.stat().st_size}\n" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:12]
