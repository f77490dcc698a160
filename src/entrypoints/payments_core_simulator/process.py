"""Runs the simulator as a process of its own, for tests and demos: `with running_simulator() as simulator: ...`."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import httpx

READY = "simulator ready at "
TEST_SERVER_KEY = "SB-Mid-server-simulated"
# A simulator that was asked to stop and has not after this long is killed.
_STOP_S = 10.0
_CONTROL_TIMEOUT_S = 30.0


@attrs.frozen
class RunningSimulator:
    """A simulator that answers. `url` is its origin; Snap is at `url + "/snap/v1"`."""

    url: str
    server_key: str = attrs.field(repr=False)
    process: "subprocess.Popen[str]" = attrs.field(repr=False)
    _client: httpx.Client = attrs.field(
        repr=False, factory=lambda: httpx.Client(timeout=_CONTROL_TIMEOUT_S, trust_env=False)
    )

    def control(self, lever: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON of any shape
        """Pull a lever (`pay`, `transition`, `faults`, `reset`, ...), and return its answer; an error answer raises."""
        return self._client.post(f"{self.url}/_sim/{lever}", json=body or {}).raise_for_status().json()

    def view(self, name: str, **query: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """Return a view (`ledger`, `notifications`, `faults`)."""
        return self._client.get(f"{self.url}/_sim/{name}", params=query).raise_for_status().json()

    def stop(self) -> None:
        """Ask it to stop, and kill it when it does not."""
        self._client.close()
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_simulator(*arguments: str, server_key: str = TEST_SERVER_KEY, port: int = 0) -> Iterator[RunningSimulator]:
    """Start a simulator, wait until it answers, and stop it at the end.

    `arguments` are further options of `python -m payments_core_simulator`; port 0 takes a free one.
    **Errors**: `RuntimeError` when the process ends before it is ready; its reason is on standard error.
    """
    command = [sys.executable, "-m", "payments_core_simulator", "--port", str(port), "--server-key", server_key]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        running = RunningSimulator(_wait_until_ready(process), server_key, process)
        try:
            yield running
        finally:
            running.stop()


def _wait_until_ready(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line.startswith(READY):
        raise RuntimeError(f"the simulator ended with code {process.wait()} before it was ready")
    return line.removeprefix(READY).strip()
