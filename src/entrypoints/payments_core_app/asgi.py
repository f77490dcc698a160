"""The application as a server process makes it, from the environment alone."""

import gc
import os

from litestar import Litestar

from payments_core_app.container import Container
from payments_core_app.http.app import build_app
from payments_core_app.logs import configure
from payments_core_app.settings import Mode, Settings

__all__ = ["SWEEP_VARIABLE", "create"]

SWEEP_VARIABLE = "PAYMENTS_SERVE_SWEEPS"
"""Set by `payments serve` for its own processes; not a setting."""
_YOUNG_MAX = 10_000
"""Containers made and not freed before they are looked through: a few batches' worth, some megabytes."""


def create() -> Litestar:
    """The application; `payments serve` has checked the environment before."""
    settings = Settings.read(os.environ)
    configure(pretty=settings.mode is not Mode.PRODUCTION)
    app = build_app(Container(settings=settings), sweep=os.environ.get(SWEEP_VARIABLE, "yes") == "yes")
    _calm_the_collector()
    return app


def _calm_the_collector() -> None:
    """What is loaded by now lives as long as the process, and is not looked through for garbage again and again.

    A batch of notifications makes thousands of values, none of them in a cycle; the usual threshold of 700 would look
    at them while they are all in use.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, 20, 20)
