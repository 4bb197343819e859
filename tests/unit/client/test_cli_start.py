"""The command must start fast and print its help without the packages that only commands need."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "httpx2", "pydantic", "sqlalchemy", "fastapi", "yaml", "services")


def test_help_imports_nothing_heavy():
    program = f"""
import sys
import libs.client.cli.app
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("lacking", "command", "extra"), [("typer", "--help", "'.[gateway]'"), ("psutil", "up", "'.[local]'")]
)
def test_without_its_packages_it_says_in_one_line_what_to_install(lacking: str, command: str, extra: str):
    program = f"""
import sys
sys.modules[{lacking!r}] = None
sys.argv[1:] = [{command!r}]
from libs.client.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert extra in done.stderr
