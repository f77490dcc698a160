"""What a process writes to its log: one JSON object a line, with what the line is about."""

import json
import subprocess
import sys
from typing import Any

SAID = """
import logging
import structlog
from payments_core_app.logs import configure

configure(pretty=False)
structlog.contextvars.bind_contextvars(request_id="r-1")
try:
    raise ValueError("broke")
except ValueError:
    logging.getLogger("payments_core").exception("due row of %s %s could not be attended to", "attempt", "p-1")
structlog.get_logger().warning("request.failed", path="/api/payments/p-1")
"""


def lines() -> list[dict[str, Any]]:
    """A process of its own, because logging belongs to the whole process."""
    done = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_one_json_object_whoever_wrote_it() -> None:
    """The core knows the standard library alone; its lines and tracebacks are looked for like all others (H6)."""
    of_the_core, of_the_shell = lines()
    assert of_the_core["event"] == "due row of attempt p-1 could not be attended to"
    assert "ValueError: broke" in of_the_core["exception"]
    assert of_the_core["logger"] == "payments_core"
    assert of_the_shell["event"] == "request.failed"
    for line in (of_the_core, of_the_shell):
        assert line["request_id"] == "r-1"
        assert line["level"] in ("error", "warning")
        assert line["timestamp"].endswith("Z")
