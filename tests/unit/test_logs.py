"""Lines of ours and of the standard library's loggers, as a service writes them."""

import json
import subprocess
import sys

SERVICE = """
import logging, structlog
from libs.logs import configure_logs
configure_logs("gateway")
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger("octavo").info("ours", status=200)
logging.getLogger("uvicorn.error").warning("theirs %d", 1)
logging.getLogger("uvicorn.access").info("not written")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


def test_every_line_is_json_of_the_same_form() -> None:
    done = subprocess.run([sys.executable, "-c", SERVICE], capture_output=True, text=True, check=True)
    ours, theirs, failed = [json.loads(line) for line in done.stdout.splitlines()]
    assert (ours["event"], ours["level"], ours["status"]) == ("ours", "info", 200)
    assert (theirs["event"], theirs["level"]) == ("theirs 1", "warning")
    assert "ZeroDivisionError" in failed["exception"]
    for line in (ours, theirs, failed):
        assert (line["service"], line["request_id"]) == ("gateway", "r1")
        assert line["timestamp"].endswith("Z")
