"""The `octavo` command.

Exit codes
    0  done
    1  it failed: a job, a data set, the platform, a local file
    2  wrong usage: an option or argument is missing or unknown
    3  Octavo does not run, or does not answer
    4  the request is not valid: the fields are named
    5  there is no such thing
    6  the key is missing, wrong, or lacks a scope
    130  interrupted by Ctrl-C
"""

import sys

_INSTALL = (
    "What the command needs is the extra `gateway`: pip install '.[gateway]' in a checkout; `make install` takes all."
)


def main() -> None:
    """Run one command; every error of ours is one readable block."""
    try:
        from libs.client.cli.app import app
    except ModuleNotFoundError as error:
        if _is_ours(error.name):
            raise
        sys.exit(f"octavo: the package {error.name} is not installed. {_INSTALL}")
    try:
        app(prog_name="octavo")
    except Exception as error:
        from libs.client.cli.failures import report
        from libs.client.errors import OctavoError

        if not isinstance(error, OctavoError):
            raise
        sys.exit(report(error, as_json="--json" in sys.argv))


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] in ("libs", "services")
