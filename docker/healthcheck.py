"""Whether the service of this container works: exit code 0 or 1. Standard library alone, in 20 ms.

healthcheck.py http PORT PATH       it answers 200
healthcheck.py file PATH SECONDS    the file was touched within SECONDS
"""

import os
import socket
import sys
import time

_PATIENCE_S = 4.0


def answers(port: int, path: str) -> bool:
    with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        status_line = connection.makefile("rb").readline(200)
    return status_line.split()[1:2] == [b"200"]


def is_fresh(path: str, seconds: float) -> bool:
    return time.time() - os.stat(path).st_mtime <= seconds  # noqa: PTH116 - pathlib takes longer than all the rest


def main(how: str, what: str, argument: str) -> bool:
    return answers(int(what), argument) if how == "http" else is_fresh(what, float(argument))


if __name__ == "__main__":
    try:
        healthy = main(*sys.argv[1:])
    except OSError as error:
        sys.exit(str(error))
    sys.exit(0 if healthy else 1)
