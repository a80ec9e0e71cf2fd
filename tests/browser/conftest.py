"""Pages in headless Chromium, opened as files, watched for faults."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import building
import faults
from serving import advised, served

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@cache
def chromium() -> str:
    """Return the path of Chromium's program, or '' where there is none."""
    found = map(shutil.which, PROGRAMS)
    return os.environ.get("CHROMIUM") or next(filter(None, found), "")


def lacking() -> str:
    if find_spec("playwright") is None:
        return "playwright is not installed: use nox -s browser"
    if not chromium():
        return "no Chromium is found: set CHROMIUM to its path"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lacking() and os.environ.get("BOOK_BROWSER") != "required":
        here = Path(__file__).parent
        for item in items:
            if item.path.is_relative_to(here):
                item.add_marker(pytest.mark.skip(lacking()))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Look for nothing: Chromium ends its own processes when it likes."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if lacking():
        pytest.fail(lacking())
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page, a file or its text; no fault may follow.

    Faults are errors, in the script or on the console, and whatever is
    asked of a host.
    """
    contexts = []
    heard: list[faults.Heard] = []

    def visit(
        shown: str | Path, fragment: str = "", **options: Any
    ) -> Any:
        if isinstance(shown, Path):
            file = shown
        else:
            file = tmp_path / "page.html"
            file.write_text(shown, "utf-8")
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        heard.append(faults.listen(page))
        page.goto(file.as_uri() + fragment)
        return page

    yield visit
    found = [
        fault
        for page in heard
        for fault in faults.foreign(page, "file://")
        + faults.errors(page)
    ]
    for context in contexts:
        context.close()
    assert found == []


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Return what builds the book, or finds what nox has built."""
    return partial(building.built, tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="session")
def site(built: Callable[..., Path]) -> Path:
    """Return the folder of the whole book's pages."""
    return built("html")


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Serve the pages as README advises.

    Return the address without the last slash.
    """
    with served(site, advised()) as address:
        yield address
