"""Under README's policy every page does all that it does without one."""

from typing import Any

import pytest

import faults
from serving import served
from test_pages import JUDGED, told, unlike

pytestmark = pytest.mark.timeout(900)

DIALOG = "#pst-search-dialog"


def choose_colours(page: Any) -> bool:
    for mode in ("dark", "light", "auto"):
        page.locator(f"[data-mode={mode}].theme-change-button").click()
        page.wait_for_selector(f"html[data-mode={mode}]")
    return True


def search(page: Any) -> bool:
    page.keyboard.press("Control+k")
    page.fill(f"{DIALOG} input", "lock")
    page.wait_for_selector(f"{DIALOG} .search-results a")
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{DIALOG} input", state="hidden")
    return True


def show_a_term(page: Any) -> bool:
    for term in page.locator("article .term").all()[:1]:
        term.locator("a").focus()
        term.locator("[role=tooltip]").wait_for(state="visible")
        page.keyboard.press("Escape")
        term.locator("[role=tooltip]").wait_for(state="hidden")
        return True
    return False


def step(page: Any) -> bool:
    explorers = page.locator("schedule-explorer").all()
    for explorer in explorers:
        explorer.locator("[data-act=run]").first.click()
        explorer.locator("[data-part=trail] li").wait_for()
        # its length is a style, which the script sets
        bars = explorer.locator("[data-part=ways] li span span")
        assert bars.first.get_attribute("style").startswith("width:")
        assert max(b.bounding_box()["width"] for b in bars.all()) > 0
    return bool(explorers)


def copy(page: Any) -> bool:
    for block in page.locator("article .highlight:has(.copybtn)").all()[
        :1
    ]:
        page.evaluate("navigator.clipboard.writeText('')")
        block.hover()
        block.locator(".copybtn").click()
        assert page.evaluate("navigator.clipboard.readText()").strip()
        return True
    return False


def unfold(page: Any) -> bool:
    closed = page.locator("article details:not([open]) > summary").all()
    for summary in reversed(closed):
        summary.click()
    return bool(closed)


def open_the_sides(page: Any) -> bool:
    """Show what a narrow page hides, and hide what a wide one shows."""
    chapters = page.locator(".primary-toggle").first
    chapters.click()
    if page.viewport_size["width"] >= 992:
        hidden = page.locator("#pst-primary-sidebar")
        hidden.wait_for(state="hidden")
        chapters.click()
        hidden.wait_for()
        return True
    shown = page.locator("dialog[open]")
    shown.locator("a").first.wait_for()
    page.keyboard.press("Escape")
    shown.wait_for(state="hidden")
    for contents in page.locator(".secondary-toggle:visible").all():
        contents.click()
        shown.locator("a").first.wait_for()
        page.keyboard.press("Escape")
        shown.wait_for(state="hidden")
    return True


DEEDS = (
    choose_colours,
    search,
    show_a_term,
    step,
    copy,
    unfold,
    open_the_sides,
)
#: What the theme gives to all pages alike: done on one of each kind.
ALIKE = {choose_colours, search, copy, open_the_sides}


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 640)]
)
def test_no_page_meets_the_policy(
    browser, site, address, scheme, width
):
    found, done = {}, set()
    with browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 740}
    ) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        for name in unlike(site):
            page = context.new_page()
            page.set_default_timeout(20_000)
            heard = faults.listen(page)
            sent = page.goto(f"{address}/{name}.html")
            assert sent.header_value("content-security-policy")
            done |= {
                deed
                for deed in DEEDS
                if (name in JUDGED or deed not in ALIKE) and deed(page)
            }
            found[name] = [
                *faults.refusals(heard),
                *faults.errors(heard),
            ]
            page.close()
    assert not told(found), told(found)
    assert done == {*DEEDS}


def test_no_page_of_others_shows_the_book_as_its_own(
    browser, address, tmp_path
):
    frame = f'<iframe src="{address}/index.html" title="x"></iframe>'
    (tmp_path / "index.html").write_text(frame)
    with served(tmp_path) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{base}/", wait_until="load")
        (_, framed) = page.frames
        assert not framed.url.startswith(address)
        assert not framed.locator("article").count()
