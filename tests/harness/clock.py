"""Commands and servers that live in the future, because deadlines are hours away."""

import os
import subprocess
import time
from pathlib import Path

from harness.product import Product, Server, payments, token

HOUR_S = 3600
_LATE = str(Path(__file__).with_name("late"))


def ahead(seconds: float) -> dict[str, str]:
    """What a process needs in its environment to believe that it is so much later."""
    path = os.pathsep.join(filter(None, (_LATE, os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "TEST_CLOCK_AHEAD_S": str(seconds)}


def run_later(product: Product, seconds: float, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A `payments` command as it would run so much later."""
    return payments(*arguments, environment={**product.environment, **ahead(seconds)}, cwd=product.folder)


def sweep_later(product: Product, seconds: float) -> None:
    """Everything due by then has been attended to."""
    done = run_later(product, seconds, "sweep", "--once")
    assert done.returncode == 0, done.stderr


def serve_later(product: Product, seconds: float, *options: str) -> Server:
    """The product's server is replaced by one that lives so much later."""
    for server in product.servers:
        server.stop()
    product.servers.clear()
    return product.serve(*options, **ahead(seconds))


def lasting_token(subject: str, **claims: str) -> str:
    """A token that is still good for a server that lives days later."""
    return token(subject, exp=int(time.time()) + 30 * 24 * HOUR_S, **claims)
