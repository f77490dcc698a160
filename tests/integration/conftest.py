"""Real parts: a PostgreSQL of our own, SQLite files, and the whole product as processes."""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import midtransclient
import pytest

from harness.postgres import PostgresCluster
from harness.product import Product, running_product
from payments_core_simulator.process import RunningSimulator, running_simulator

DATABASES = [pytest.param("sqlite", id="sqlite"), pytest.param("postgres", id="postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL server with durable settings, started here and stopped at the end; none has to be installed.

    Not in pytest's own folder: another pytest that starts closes that to others, also to the database's user.
    """
    with (
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
        PostgresCluster.running(Path(folder)) as cluster,
    ):
        yield cluster


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty database of a kind and gives its URL."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path / f'{uuid.uuid4().hex}.sqlite3'}"
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        return cluster.create_database()

    return make


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """An empty database, once SQLite and once PostgreSQL."""
    return new_database(request.param)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The API and the simulator as processes, on SQLite, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("product")
    with running_product(f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}", folder) as running:
        yield running


@pytest.fixture
def healthy_gateway(product: Product) -> Iterator[None]:
    """Whatever a test broke at the gateway is mended after it."""
    yield
    product.simulator.control("faults", {})


# ── the simulator alone ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def simulator_server() -> Iterator[RunningSimulator]:
    """One simulator for the tests of a module."""
    with running_simulator() as running:
        yield running


@pytest.fixture
def simulator(simulator_server: RunningSimulator) -> RunningSimulator:
    """The simulator with an empty ledger and no faults."""
    simulator_server.control("reset")
    return simulator_server


@pytest.fixture
def snap(simulator: RunningSimulator) -> midtransclient.Snap:
    """The real client, pointed at the simulator."""
    client = midtransclient.Snap(server_key=simulator.server_key)
    client.api_config.SNAP_SANDBOX_BASE_URL = f"{simulator.url}/snap/v1"
    return client


@pytest.fixture
def core(simulator: RunningSimulator) -> midtransclient.CoreApi:
    """The real client, pointed at the simulator."""
    client = midtransclient.CoreApi(server_key=simulator.server_key)
    client.api_config.CORE_SANDBOX_BASE_URL = simulator.url
    return client
