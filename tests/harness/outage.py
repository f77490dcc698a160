"""A PostgreSQL that is taken away and brought back."""

import os
import signal
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

from harness.postgres import PostgresCluster
from harness.product import until


def _processes(cluster: PostgresCluster) -> list[psutil.Process]:
    """The server of this cluster and its children."""
    pid = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]
    return []


def kill(cluster: PostgresCluster) -> None:
    """kill -9: nothing that was not on the disk is left."""
    processes = _processes(cluster)
    assert processes, "the database was not running"
    os.kill(processes[0].pid, signal.SIGKILL)
    for process in processes[1:]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def stop(cluster: PostgresCluster) -> None:
    """An orderly stop, as for maintenance."""
    cluster.server.stop()


def start(cluster: PostgresCluster) -> None:
    """It answers again."""
    cluster.server.start()
    until(lambda: "1" in cluster.sql("SELECT 1"), what="the database")
