"""Each check of a page finds its fault on a page made bad for it."""

import base64
import copy
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import faults
import lighthouse
from serving import advised, served

PAGE = """<!DOCTYPE html><html lang="en"><head><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>:focus-visible {{ outline: 3px solid }} p {{ line-height: 20px }}
{style}</style></head><body><a href="#main-content">To the text</a>
<main id="main-content"><h1>A page</h1><article>{body}</article></main>
</body></html>"""
WORDS = "Two threads add one to the same counter. " * 12
CODE = "<span>word</span> " * 9


BASE = "http://book.test"
#: What the book's policy has nothing against; a ``<base>`` may follow.
STRICT = '<!DOCTYPE html><html lang="en"><title>A page</title>'


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
        faults.accessibility,
        page_with(
            f'<pre>{CODE}<span class="k">in</span></pre>',
            ".k { color: #999 }",
        ),
        "color-contrast",
    ),
    (
        faults.accessibility,
        page_with(
            f"<pre><b hidden>{CODE}</b><b>{CODE}</b></pre>",
            "span { color: #999 }",
        ),
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
def window(browser: Any) -> Iterator[Any]:
    """Make a window for one page, with nothing else to be had."""
    contexts = []

    def window(text: str, headers: Any = None, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, **options
        )
        contexts.append(context)
        page = context.new_page()

        def answer(route: Any) -> None:
            if route.request.url == f"{BASE}/":
                kind = {"Content-Type": "text/html; charset=utf-8"}
                route.fulfill(body=text, headers=kind | (headers or {}))
            elif route.request.url == f"{BASE}/refused.png":
                route.abort()
            else:
                route.fulfill(status=404)

        page.route("**/*", answer)
        return page

    yield window
    for context in contexts:
        context.close()


@pytest.fixture
def show(window: Any) -> Any:
    def show(text: str, **options: Any) -> Any:
        page = window(text, **options)
        faults.watch_shifts(page)
        page.goto(f"{BASE}/")
        return page

    return show


@pytest.fixture
def hear(window: Any) -> Any:
    def hear(text: str, headers: Any = None) -> faults.Heard:
        page = window(text, headers)
        heard = faults.listen(page)
        page.goto(f"{BASE}/", wait_until="networkidle")
        return heard

    return hear


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
        """async () => {
            // What is not yet painted cannot move.
            for (let frame = 0; frame < 2; frame++)
                await new Promise(requestAnimationFrame);
            document.querySelector("#late").style.height = "300px";
        }"""
    )
    assert any("moved by" in fault for fault in faults.shifts(page))
    assert faults.shifts(show(GOOD)) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("console.error('no such thread')", "no such thread"),
        ("console.assert(false, 'one too many')", "one too many"),
        ("throw new Error('thrown')", "uncaught: thrown"),
        ("Promise.reject(new Error('kept'))", "uncaught: kept"),
        (
            "addEventListener('load', () => setTimeout(() => {"
            " throw new Error('late') }, 50))",
            "uncaught: late",
        ),
        ("new Image().src = 'x.png'", f"answered 404: {BASE}/x.png"),
        (
            "new Image().src = 'refused.png'",
            f"net::ERR_FAILED: {BASE}/refused.png",
        ),
        ("fetch('x').catch(() => 0)", f"answered 404: {BASE}/x"),
    ],
)
def test_an_error_is_told(hear: Any, bad: str, words: str) -> None:
    found = faults.errors(hear(page_with(f"<script>{bad}</script>")))
    assert any(words in fault for fault in found), found


ELSEWHERE = "http://example.invalid/x"


@pytest.mark.parametrize(
    ("bad", "url"),
    [
        (f'<img src="{ELSEWHERE}" alt="">', ELSEWHERE),
        (f'<script src="{ELSEWHERE}"></script>', ELSEWHERE),
        (f'<link rel="stylesheet" href="{ELSEWHERE}">', ELSEWHERE),
        (f'<style>@import "{ELSEWHERE}";</style>', ELSEWHERE),
        (f'<iframe src="{ELSEWHERE}"></iframe>', ELSEWHERE),
        (f"<script>fetch('{ELSEWHERE}')</script>", ELSEWHERE),
        (
            f"<script>navigator.sendBeacon('{ELSEWHERE}')</script>",
            ELSEWHERE,
        ),
        # a name, and a port, that only begin as the book's
        (f'<img src="{BASE}.invalid/x" alt="">', f"{BASE}.invalid/x"),
        (f'<img src="{BASE}:81/x" alt="">', f"{BASE}:81/x"),
        (
            "<script>new WebSocket('ws://127.0.0.2:9')</script>",
            "ws://127.0.0.2:9/",
        ),
    ],
)
def test_another_host_is_told(hear: Any, bad: str, url: str) -> None:
    found = faults.foreign(hear(page_with(bad)), BASE)
    assert found == [f"asks for {url}"]


@pytest.mark.parametrize("rel", ["preconnect", "dns-prefetch"])
def test_a_host_called_beforehand_is_told(show: Any, rel: str) -> None:
    bad = f'<link rel="{rel}" href="http://127.0.0.2:9/">'
    found = faults.readied(show(page_with(bad)), BASE)
    assert found == ["calls http://127.0.0.2:9/"]


def test_a_page_sound_and_on_its_own_is_not_told(hear: Any) -> None:
    heard = hear(
        GOOD.replace(
            "</p>",
            '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQAB'
            'AAA=" alt=""><script>console.log("well")</script></p>',
            1,
        )
    )
    assert faults.errors(heard) == []
    assert faults.foreign(heard, BASE) == []
    assert faults.readied(heard.page, BASE) == []


@pytest.mark.parametrize(
    ("bad", "directive"),
    [
        ("<script>0</script>", "script-src-elem"),
        ('<img src="/x.png" alt="" onerror="0">', "script-src-attr"),
        (
            '<a href="javascript:0" id="link">x</a>',
            "script-src-elem",
        ),
        ('<p style="top: 0">Words.</p>', "style-src-attr"),
        ("<style>p { top: 0 }</style>", "style-src-elem"),
        (f'<img src="{ELSEWHERE}" alt="">', "img-src"),
        ('<img src="data:image/gif;base64,R0lGO" alt="">', "img-src"),
        (f'<script src="{ELSEWHERE}"></script>', "script-src-elem"),
        (
            f'<link rel="stylesheet" href="{ELSEWHERE}">',
            "style-src-elem",
        ),
        ('<iframe src="/x" title="x"></iframe>', "frame-src"),
        ('<object data="/x"></object>', "object-src"),
        ('<video src="/x"></video>', "media-src"),
        ('<base href="/x/">', "base-uri"),
        (
            f'<form action="{ELSEWHERE}"><button id="link">x</button>'
            "</form>",
            "form-action",
        ),
    ],
)
def test_what_the_policy_refuses_is_told(
    hear: Any, bad: str, directive: str
) -> None:
    heard = hear(STRICT + bad, advised())
    if heard.page.locator("#link").count():
        heard.page.evaluate(
            """() => new Promise(done => {
                addEventListener("securitypolicyviolation", () => done());
                document.querySelector("#link").click();
            })"""
        )
    assert {told.split()[0] for told in faults.refusals(heard)} == {
        directive
    }


@pytest.mark.parametrize(
    ("run", "directive"),
    [
        ("eval('0')", "script-src"),
        ("new Function('return 0')()", "script-src"),
        (f"fetch('{ELSEWHERE}').catch(() => 0)", "connect-src"),
        (
            "new Worker(URL.createObjectURL(new Blob(['0'])))",
            "worker-src",
        ),
    ],
)
def test_what_a_script_may_not_do_is_told(
    browser: Any, tmp_path: Path, run: str, directive: str
) -> None:
    (tmp_path / "index.html").write_text(STRICT + SCRIPT, "utf-8")
    (tmp_path / "x.js").write_text(f"try {{ {run} }} catch {{ }}")
    with (
        served(tmp_path, advised()) as base,
        browser.new_context() as context,
    ):
        heard = faults.listen(context.new_page())
        heard.page.goto(f"{base}/", wait_until="networkidle")
        found = faults.refusals(heard)
    assert [told.split()[0] for told in found] == [directive]


def test_a_page_that_the_policy_fits_is_not_told(hear: Any) -> None:
    heard = hear(STRICT + "<p>Words.</p>", advised())
    assert heard.page.inner_text("p") == "Words."
    assert faults.refusals(heard) == []
    assert faults.errors(heard) == []


#: Random bytes, which nothing can make shorter.
NOISE = random.Random(0).randbytes(112 * faults.KIB)  # noqa: S311
IMAGES = "".join(f'<img src="{n}.png" alt="">' for n in range(20))
SCRIPT = '<script src="x.js"></script>'


@pytest.mark.parametrize(
    ("body", "files", "words"),
    [
        (
            "<script>fetch('x.bin').then(it => it.blob())</script>",
            {"x.bin": NOISE},
            r"^weighs 112\.\d KiB, 112\.0 in http.*/x\.bin$",
        ),
        (
            SCRIPT,
            {"x.js": b"//" + base64.b64encode(NOISE)},
            r"^weighs 11\d\.\d KiB, 11\d\.\d in http.*/x\.js$",
        ),
        (
            IMAGES,
            {f"{n}.png": b"" for n in range(20)},
            r"^asks 21 times$",
        ),
        # what is sent short is light, and the twentieth request is one
        (SCRIPT, {"x.js": b"//" + b" " * 2 * len(NOISE)}, None),
        (
            IMAGES.replace('<img src="0.png" alt="">', ""),
            {f"{n}.png": b"" for n in range(20)},
            None,
        ),
    ],
    ids=["data", "script", "requests", "packed", "just not too many"],
)
def test_a_heavy_page_is_told(
    browser: Any,
    tmp_path: Path,
    body: str,
    files: dict[str, bytes],
    words: str | None,
) -> None:
    (tmp_path / "index.html").write_text(page_with(body), "utf-8")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with served(tmp_path) as base, browser.new_context() as context:
        heard = faults.listen(context.new_page())
        heard.page.goto(f"{base}/", wait_until="networkidle")
        found = faults.weight(heard)
    if words is None:
        assert found == []
    else:
        assert len(found) == 1
        assert re.match(words, found[0]), found


#: Lighthouse asks for these too.
DESCRIBED = page_with(f"<p>{WORDS}</p>").replace(
    "</title>",
    '</title><meta charset="utf-8">'
    '<meta name="description" content="A page that is well.">',
)


@pytest.fixture
def visited(tmp_path: Path) -> Any:
    """Have Lighthouse visit a page; return its report."""

    def visited(text: str) -> dict[str, Any]:
        (tmp_path / "index.html").write_text(text, "utf-8")
        with served(tmp_path) as base:
            return lighthouse.report(f"{base}/", "mobile")

    return visited


@pytest.mark.timeout(600)
def test_lighthouse_tells_what_is_unfit(visited: Any) -> None:
    report = visited(
        page_with(
            '<img src="x.png" width="9" height="9"><p>Grey.</p>',
            "p { color: #999 }",
        )
        .replace(' lang="en"', "")
        .replace("<title>A page</title>", "")
    )
    accessible, practices, searched = lighthouse.unfit(report)
    assert accessible.startswith("accessibility ")
    for audit in ("html-has-lang", "image-alt", "color-contrast"):
        assert audit in accessible
    assert practices.startswith("best-practices ")
    assert "errors-in-console" in practices  # the image is not there
    assert searched.startswith("seo ")
    assert "meta-description" in searched


@pytest.mark.timeout(600)
def test_lighthouse_tells_what_is_slow_or_moves(visited: Any) -> None:
    report = visited(
        DESCRIBED.replace(
            "</head>",
            "<script>const end = performance.now() + 2000;"
            "while (performance.now() < end);</script></head>",
        ).replace(
            "<article>",
            '<article><div id="late"></div><script>'
            "new PerformanceObserver(() => {"
            " document.querySelector('#late').style.height = '300px'"
            "}).observe({type: 'paint', buffered: true})</script>",
        )
    )
    fast, paint = lighthouse.slow(report, "mobile")
    assert fast.startswith("performance ")
    assert paint.startswith("first paint after ")
    (shift,) = lighthouse.unfit(report)
    assert shift.startswith("moved by 0.")


@pytest.mark.timeout(600)
def test_lighthouse_has_nothing_against_a_good_page(
    visited: Any,
) -> None:
    for _attempt in range(3):  # as the book's pages have
        report = visited(DESCRIBED)
        assert lighthouse.unfit(report) == []
        if not (found := lighthouse.slow(report, "mobile")):
            break
    assert found == []
    # the least that a page may lack is told as well
    for name in ("accessibility", "best-practices", "seo"):
        worse = copy.deepcopy(report)
        worse["categories"][name]["score"] = 0.99
        assert [f.split()[:2] for f in lighthouse.unfit(worse)] == [
            [name, "99:"]
        ]
        worse["categories"][name]["score"] = None
        assert lighthouse.unfit(worse)
    worse = copy.deepcopy(report)
    for score, mobile, desktop in [
        (1, 0, 0),
        (0.99, 0, 1),
        (0.95, 0, 1),
        (0.94, 1, 1),
        (None, 1, 1),
    ]:
        worse["categories"]["performance"]["score"] = score
        assert len(lighthouse.slow(worse, "mobile")) == mobile
        assert len(lighthouse.slow(worse, "desktop")) == desktop
