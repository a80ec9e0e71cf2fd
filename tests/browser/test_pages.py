"""Every page of the book, in a browser: as light, and as fit for everyone.

What a fault is, ``faults.py`` and ``lighthouse.py`` say;
``test_faults.py`` proves that it would be found.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import faults
import lighthouse

pytestmark = pytest.mark.timeout(900)

PARTS = ("threads", "multitasking")
#: A page of each kind: the contents, a long chapter, one with figures.
JUDGED = ("index", "threads/locks", "multitasking/pages")
#: How many pages rest at a time: each takes half a second to show it.
TOGETHER = 8


def pages(site: Path) -> list[str]:
    """Return the names of all pages, without their ending."""
    return sorted(
        path.relative_to(site).with_suffix("").as_posix()
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    )


def kinds(page: Path) -> set[str]:
    """Return the start tags of a page, with the values of classes alone."""
    tags = re.findall(r"<\w[^>]*>", page.read_text("utf-8"))
    return {re.sub(r'(?<!class)="[^"]*"', "", tag) for tag in tags}


def unlike(site: Path) -> list[str]:
    """Return the names of the pages that differ by more than their words.

    The texts of programs come from one template: of these, each that has
    a kind of element that no longer one has.
    """
    names = pages(site)
    texts = {
        name: (site / f"{name}.html").stat().st_size
        for name in names
        if name.startswith(("code/", "tests/"))
    }
    alike, seen = set(), set()
    for name in sorted(texts, key=texts.__getitem__, reverse=True):
        new = kinds(site / f"{name}.html") - seen
        seen |= new
        if not new:
            alike.add(name)
    return [name for name in names if name not in alike]


def chapters(site: Path) -> list[str]:
    return [name for name in pages(site) if name.split("/")[0] in PARTS]


@pytest.fixture
def open_all(browser: Any) -> Iterator[Any]:
    """Open pages one after another in one window of a given kind."""
    contexts = []

    def open_all(
        base: str, names: list[str], **options: Any
    ) -> Iterator[tuple[str, Any]]:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        faults.watch_shifts(page)
        for name in names:
            page.goto(f"{base}/{name}.html", wait_until="load")
            yield name, page

    yield open_all
    for context in contexts:
        context.close()


def told(found: dict[str, list[str]]) -> str:
    return "\n".join(
        f"{name}: {fault}"
        for name, all_ in found.items()
        for fault in all_
    )


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 360)]
)
def test_axe_finds_nothing_on_any_page(
    site, address, open_all, scheme, width
):
    found = {
        name: faults.accessibility(page)
        for name, page in open_all(
            address,
            unlike(site),
            color_scheme=scheme,
            reduced_motion="reduce",
            viewport={"width": width, "height": 740},
        )
    }
    assert not told(found), told(found)


def test_no_page_moves_or_is_too_wide_on_a_small_screen(
    site, address, open_all
):
    found = {}
    for name, page in open_all(
        address, pages(site), viewport={"width": 412, "height": 820}
    ):
        found[name] = faults.shifts(page)
        # a small telephone, and 200 % on a small laptop
        for width in (360, 640):
            page.set_viewport_size({"width": width, "height": 740})
            found[f"{name} at {width}"] = faults.sideways(page)
    assert not told(found), told(found)


def test_no_page_moves_on_a_large_screen(site, address, open_all):
    found = {}
    for name, page in open_all(
        address, pages(site), viewport={"width": 1350, "height": 820}
    ):
        found[name] = faults.shifts(page)
        page.emulate_media(reduced_motion="reduce")
        found[f"{name}, no motion wanted"] = faults.motion(page)
        page.emulate_media(reduced_motion="no-preference")
    assert not told(found), told(found)


def test_no_line_is_too_long_to_read(site, address, open_all):
    found = {
        name: faults.lines(page)
        for name, page in open_all(
            address,
            chapters(site),
            viewport={"width": 1680, "height": 1000},
        )
    }
    assert not told(found), told(found)


@pytest.mark.parametrize("name", JUDGED)
def test_the_keyboard_reaches_everything(address, open_all, name):
    for _, page in open_all(address, [name]):
        assert faults.keyboard(page) == []


@pytest.mark.parametrize("name", JUDGED)
def test_the_text_is_few_stops_away(address, open_all, name):
    for _, page in open_all(address, [name]):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        inside = "!!document.activeElement.closest('article')"
        for _stop in range(2, 7):
            page.keyboard.press("Tab")
            if page.evaluate(inside):
                break
        assert page.evaluate(inside), "six stops, and not in the text"


def test_forced_colours_hide_nothing(address, open_all):
    for _, page in open_all(
        address, ["threads/locks"], forced_colors="active"
    ):
        assert faults.unread_in_forced_colours(page) == []


def test_paper_loses_nothing(site, address, open_all):
    found = {}
    # the width of A4 less its margins, in CSS pixels
    for name, page in open_all(
        address, chapters(site), viewport={"width": 680, "height": 960}
    ):
        page.emulate_media(media="print")
        found[name] = faults.printing(page)
    assert not told(found), told(found)


@pytest.fixture
def heard(browser: Any) -> Iterator[Any]:
    """Open some pages at a time, and hear each until it rests.

    Where asked, each is opened with nothing kept from the others.
    """
    contexts: list[Any] = []

    def opened(url: str, afresh: bool) -> faults.Heard:
        if afresh or not contexts:
            contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        found = faults.listen(page)
        page.goto(url, wait_until="commit")
        return found

    def heard(
        base: str, names: list[str], afresh: bool = False
    ) -> Iterator[tuple[str, faults.Heard]]:
        for at in range(0, len(names), TOGETHER):
            some = names[at : at + TOGETHER]
            of = [
                opened(f"{base}/{name}.html", afresh) for name in some
            ]
            for name, found in zip(some, of, strict=True):
                found.page.wait_for_load_state("networkidle")
                yield name, found
                found.page.close()

    yield heard
    for context in contexts:
        context.close()


@pytest.mark.parametrize("by_file", [False, True])
def test_pages_ask_nobody_else_and_report_no_error(
    site, address, heard, by_file
):
    base = site.as_uri() if by_file else address
    names = unlike(site)
    if by_file:
        names.remove("404")  # its links begin at the root of a server
    found = {
        name: [
            *faults.foreign(of, base),
            *faults.readied(of.page, base),
            *faults.errors(of),
        ]
        for name, of in heard(base, names)
    }
    assert not told(found), told(found)


def test_each_chapter_is_light(site, address, heard):
    found = {}
    for name, of in heard(address, chapters(site), afresh=True):
        size = sum(faults.sizes(of).values()) / faults.KIB
        print(f"{name}: {size:.1f} KiB, {faults.requests(of)} requests")
        found[name] = faults.weight(of)
    assert not told(found), told(found)


@pytest.mark.parametrize("preset", ["mobile", "desktop"])
@pytest.mark.parametrize("name", JUDGED)
def test_lighthouse_is_content(address, name, preset):
    # The best of three: what else the machine does only takes away.
    for attempt in range(3):
        report = lighthouse.report(f"{address}/{name}.html", preset)
        print(f"{name}, {preset}: {lighthouse.summary(report)}")
        assert lighthouse.unfit(report) == []
        found = lighthouse.slow(report, preset)
        if not found:
            break
        print(f"attempt {attempt + 1} was slower")
    assert found == []
