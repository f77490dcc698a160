"""A real Chromium, where there is one."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless browser; the test is skipped where none is installed."""
    if _CHROMIUM is None:
        pytest.skip("no Chromium on this machine: what a browser shows was not tried")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=[*_OPTIONS])
        try:
            yield browser
        finally:
            browser.close()
