"""Each check of a page finds its fault on a page made bad for it."""

from collections.abc import Callable
from typing import Any

import pytest

import faults

PAGE = """<!DOCTYPE html><html lang="en"><head><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:focus-visible {{ outline: 3px solid }} p {{ line-height: 20px }}
{style}</style></head><body><a href="#main-content">To the text</a>
<main id="main-content"><h1>A page</h1><article>{body}</article></main>
</body></html>"""
WORDS = "Two threads add one to the same counter. " * 12


def page_with(body: str = "<p>Words.</p>", style: str = "") -> str:
    return PAGE.format(body=body, style=style)


GOOD = page_with(
    f'<p style="width: 30em">{WORDS}</p><p><a href="#a">A link</a></p>'
    "<pre>code</pre>"
)
BAD = [
    (faults.accessibility, page_with('<img src="x.png">'), "image-alt"),
    (
        faults.accessibility,
        page_with(style="p { color: #999 }"),
        "color-contrast",
    ),
    (
        faults.sideways,
        page_with('<div style="width: 2000px">wide</div>'),
        "width: 2000px",
    ),
    (
        faults.motion,
        page_with(style="p { transition: color 1s }"),
        "moves: <p>",
    ),
    (
        faults.motion,
        page_with(
            style="@keyframes k { to { top: 0 } } p { animation: k 1s }"
        ),
        "moves: <p>",
    ),
    (
        faults.lines,
        page_with(f'<p style="width: 1100px">{WORDS * 3}</p>'),
        "characters a line",
    ),
    (
        faults.keyboard,
        page_with(
            '<button tabindex="-1" data-stop="9">x</button>'
        ).replace('<a href="#main-content">To the text</a>', ""),
        "the first stop is",
    ),
    (
        faults.keyboard,
        page_with(style="a:focus-visible { outline: none }"),
        "focus does not show",
    ),
    (
        faults.keyboard,
        page_with(
            '<a href="#x" onfocus="this.blur()">never</a>'
            '<a href="#y">after</a>'
        ),
        "Tab reaches",
    ),
    (
        faults.printing,
        page_with("<details><summary>More</summary><p>x</p></details>"),
        "closed",
    ),
    (
        faults.printing,
        page_with(
            f"<pre>{WORDS * 3}</pre>", "pre { overflow: hidden }"
        ),
        "cut off",
    ),
    (
        faults.printing,
        page_with("<button>Copy</button>"),
        "only for a screen",
    ),
    (
        faults.unread_in_forced_colours,
        page_with(
            '<div class="modes"><button class="btn">one</button>'
            '<button class="btn active">two</button></div>',
            ".active { background: #ddd }",
        ),
        "looks as the others",
    ),
]


@pytest.fixture
def show(browser: Any) -> Any:
    contexts = []

    def show(text: str, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, **options
        )
        contexts.append(context)
        page = context.new_page()
        faults.watch_shifts(page)
        page.route(
            "http://book.test/",
            lambda r: r.fulfill(
                body=text, content_type="text/html; charset=utf-8"
            ),
        )
        page.goto("http://book.test/")
        return page

    yield show
    for context in contexts:
        context.close()


OPTIONS = {faults.unread_in_forced_colours: {"forced_colors": "active"}}


@pytest.mark.parametrize(("find", "bad", "words"), BAD)
def test_a_bad_page_is_told(
    show: Any, find: Callable[[Any], list[str]], bad: str, words: str
) -> None:
    found = find(show(bad, **OPTIONS.get(find, {})))
    assert any(words in fault for fault in found), found


@pytest.mark.parametrize(
    "find",
    sorted({find for find, _, _ in BAD}, key=lambda f: f.__name__),
)
def test_a_good_page_is_not(
    show: Any, find: Callable[[Any], list[str]]
) -> None:
    assert find(show(GOOD, **OPTIONS.get(find, {}))) == []


def test_what_moves_by_itself_is_told(show: Any) -> None:
    page = show(page_with('<div id="late"></div><p>Words.</p>'))
    page.evaluate(
        """() => new Promise(done => requestAnimationFrame(() => {
            document.querySelector("#late").style.height = "300px";
            requestAnimationFrame(() => setTimeout(done, 50));
        }))"""
    )
    assert any("moved by" in fault for fault in faults.shifts(page))
    assert faults.shifts(show(GOOD)) == []
