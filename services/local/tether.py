"""Starts a program that ends with its parent: `python -I -S tether.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT...]`.

A script of its own rather than a `preexec_fn`: it imports nothing of ours, takes 20 ms, and is safe when the parent has
threads. On Linux the kernel sends SIGNAL when the thread that started us ends, however it ends; elsewhere only the
parent's own clean-up stops the program. UID and GID of -1 keep the caller's.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, signal_number: int, uid: int, gid: int, command: list[str]) -> None:
    """Change the account, tie the process to its parent, become the program."""
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":  # after the change of account, which clears the setting
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent_pid:  # it ended before the line above
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    parent, death, user, group, *program = sys.argv[1:]
    main(int(parent), int(death), int(user), int(group), program)
