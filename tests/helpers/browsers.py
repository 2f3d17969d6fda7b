"""A real browser without a screen, which playwright drives."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
ROOT_FLAGS = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Chromium; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed here")
    try:
        from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        pytest.skip("playwright is not installed here")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=ROOT_FLAGS)
        try:
            yield started
        finally:
            started.close()


class Tab:
    """A page in a browser window of its own, and all that went wrong in it."""

    def __init__(self, started: Any, address: str, size: dict[str, int] = DESKTOP, scheme: str = "light"):
        self.context = started.new_context(viewport=size, color_scheme=scheme, ignore_https_errors=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.wrong, self.asked = list[str](), list[str]()
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    @property
    def overflows(self) -> bool:
        """Whether it must be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")

    def close(self) -> None:
        self.context.close()
