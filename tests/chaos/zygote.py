"""A process that has imported the product and forks it on request.

Importing takes two seconds of CPU, and a long run starts the product more than a thousand times. What is forked reads
its settings, makes its event loop and opens its connections by itself, and is killed like any other process.
Requests are JSON lines on standard input, answers JSON lines on standard output; at the end of input everything forked
here dies, so that a harness that dies leaves nothing behind.
"""

import contextlib
import json
import os
import signal
import sys
from typing import Any

from payments_core_app import asgi  # noqa: F401 - what takes the time
from payments_core_app.cli import cli


def main() -> None:
    """Fork until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for exit codes: who died is looked at from outside
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: list[int] = []
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # as it does itself: whoever is told the pid may kill its group at once
        children.append(pid)
        print(json.dumps({"pid": pid}), flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _become(wish: dict[str, Any]) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(wish["environment"])
    os.chdir(wish["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    sys.argv = ["payments", *wish["arguments"]]
    try:
        cli()
    finally:
        os._exit(70)  # click has left by SystemExit otherwise; nothing of the zygote may run on


if __name__ == "__main__":
    main()
