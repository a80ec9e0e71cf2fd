"""Each check of a page finds its fault on a page made bad for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import faults
from serving import served

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


# --- What is seen from outside a page ---


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serve a page and its files on loopback; give the page's address."""
    with served(tmp_path) as address:

        def serve(text: str, **files: bytes) -> str:
            (tmp_path / "page.html").write_text(text, "utf-8")
            for name, content in files.items():
                (tmp_path / name).write_bytes(content)
            return f"{address}/page.html"

        yield serve


def listened(browser: Any, address: str) -> list[str]:
    context = browser.new_context()
    page = context.new_page()
    found = faults.noise(page, address.rpartition("/")[0])
    page.goto(address, wait_until="networkidle")
    context.close()
    return found


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<script>console.error('ouch')</script>", "ouch"),
        ("<script>throw new Error('thrown')</script>", "thrown"),
        ("<script>Promise.reject(Error('late'))</script>", "late"),
        ('<img alt="" src="lost.png">', "404"),
        (
            '<img alt="" src="http://127.0.0.1:9/x.png">',
            "asks for http://127.0.0.1:9/x.png",
        ),
        (
            "<script>fetch('http://127.0.0.1:9/x').catch(e => e)"
            "</script>",
            "asks for http://127.0.0.1:9/x",
        ),
    ],
)
def test_errors_and_other_hosts_are_told(browser, serve, body, words):
    found = listened(browser, serve(page_with(body)))
    assert any(words in fault for fault in found), found


def test_a_page_without_errors_is_silent(browser, serve):
    icon = '<link rel="icon" href="data:,"></head>'
    good = GOOD.replace("</head>", icon)
    assert listened(browser, serve(good)) == []


@pytest.mark.parametrize(
    ("kib", "pictures", "words"),
    [
        (50, 15, []),
        (120, 1, ["KiB of 110"]),
        (1, 21, ["requests of 20"]),
    ],
)
def test_a_heavy_page_is_told(browser, serve, kib, pictures, words):
    body = "".join(
        f'<img alt="" src="one.png?{n}">' for n in range(pictures)
    )
    address = serve(page_with(body), **{"one.png": b"x"})
    each = kib * 1024 // pictures
    context = browser.new_context()
    size, requests = faults.weight(
        context.new_page(),
        address,
        lambda url: each if "one.png" in url else 0,
    )
    context.close()
    assert size == each * pictures
    assert requests >= 1 + pictures
    found = faults.heavy(size, requests)
    assert len(found) == len(words), found
    for part, fault in zip(words, found, strict=True):
        assert part in fault


@pytest.mark.timeout(300)
def test_what_lighthouse_dislikes_is_told(serve, started):
    bad = page_with(
        '<img src="one.png" width="9" height="9"><p>Words.</p>',
        "p { color: #ccc }",
    ).replace(
        "</head>",
        "<script>const end = performance.now() + 4000;"
        "while (performance.now() < end);"
        "let moved = 0; setInterval(() => document.querySelector('h1')"
        ".style.marginTop = `${moved += 50}px`, 200)</script></head>",
    )
    address = serve(bad, **{"one.png": b"x"})
    report = faults.lighthouse(address, "mobile", started)
    slow = " ".join(faults.slow(report, "mobile"))
    assert "performance" in slow
    assert "first paint" in slow
    amiss = " ".join(faults.amiss(report))
    for words in (
        "accessibility: ",
        "seo: ",
        "layout shift",
        "image-alt",
    ):
        assert words in amiss


@pytest.mark.timeout(300)
def test_a_page_that_lighthouse_likes_is_not_amiss(serve, started):
    icon = (
        '<meta charset="utf-8">'
        '<meta name="description" content="Two threads, one counter.">'
        '<link rel="icon" href="data:,"></head>'
    )
    address = serve(GOOD.replace("</head>", icon))
    report = faults.lighthouse(address, "desktop", started)
    assert faults.amiss(report) == []
    assert faults.slow(report, "desktop") == []
