"""A term's meaning comes on hover and on focus, and goes on Escape."""

import pytest

import faults


@pytest.fixture
def term(visit, site):
    def term(**options):
        page = visit(site / "threads" / "locks.html", **options)
        return page, page.locator("article .term").first

    return term


def test_it_comes_with_the_pointer_and_stays_under_it(term):
    page, term = term()
    meaning = term.locator("[role=tooltip]")
    assert not meaning.is_visible()
    term.locator("a").hover()
    assert meaning.is_visible()
    meaning.hover()
    assert meaning.is_visible()
    page.mouse.move(5, 5)
    assert not meaning.is_visible()


def test_it_comes_with_the_focus_and_goes_on_escape(term):
    page, term = term()
    meaning = term.locator("[role=tooltip]")
    term.locator("a").focus()
    assert meaning.is_visible()
    page.keyboard.press("Escape")
    assert not meaning.is_visible()
    page.keyboard.press("Tab")
    term.locator("a").focus()
    assert meaning.is_visible()


def test_an_escape_for_something_else_does_not_keep_it_away(term):
    page, term = term()
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    term.locator("a").focus()
    assert term.locator("[role=tooltip]").is_visible()


def test_it_comes_without_scripts(term):
    _, term = term(java_script_enabled=False)
    term.locator("a").hover()
    assert term.locator("[role=tooltip]").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 640, 1280])
def test_it_stays_in_the_window_and_can_be_read(term, width, scheme):
    page, _ = term(
        viewport={"width": width, "height": 740},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    for term in page.locator("article .term").all():
        term.locator("a").focus()
        box = term.locator("[role=tooltip]").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert faults.sideways(page) == []
    assert faults.accessibility(page) == []
