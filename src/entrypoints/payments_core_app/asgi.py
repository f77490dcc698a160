"""The application as a server process makes it, from the environment alone."""

import os

from litestar import Litestar

from payments_core_app.container import Container
from payments_core_app.http.app import build_app
from payments_core_app.logs import configure
from payments_core_app.settings import Mode, Settings

__all__ = ["SWEEP_VARIABLE", "create"]

SWEEP_VARIABLE = "PAYMENTS_SERVE_SWEEPS"
"""Set by `payments serve` for its own processes; not a setting."""


def create() -> Litestar:
    """The application; `payments serve` has checked the environment before."""
    settings = Settings.read(os.environ)
    configure(pretty=settings.mode is not Mode.PRODUCTION)
    return build_app(Container(settings=settings), sweep=os.environ.get(SWEEP_VARIABLE, "yes") == "yes")
