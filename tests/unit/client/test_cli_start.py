"""The command must start fast and print its help without the packages that only commands need."""

import subprocess
import sys

HEAVY = ("torch", "numpy", "httpx2", "pydantic", "sqlalchemy", "fastapi", "yaml", "services")


def test_help_imports_nothing_heavy():
    program = f"""
import sys
import libs.client.cli.app
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
