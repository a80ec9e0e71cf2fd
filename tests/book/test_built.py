"""The pages, the PDF and the EPUB, as they were built."""

import re
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup

from compare import missing_from_epub, missing_from_pdf

pytestmark = pytest.mark.timeout(900)

PARTS = ("threads", "multitasking")


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(_text(page), "html.parser")


def pages(folder: Path) -> list[Path]:
    return [
        page
        for page in sorted(folder.rglob("*.*html"))
        if "_static" not in page.parts
    ]


@pytest.fixture(params=["html", "epub"])
def folder(book, request):
    return getattr(book, request.param)


def test_no_page_loads_anything_from_another_host(folder):
    loaded = re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*"
        r"\b(?:src|data)=\"(?:https?:)?//[^\"]*"
        r"|<link\b[^>]*\bhref=\"(?:https?:)?//[^\"]*"
        r"|(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')]*"
    )
    found = {
        match[0]
        for page in [*pages(folder), *folder.rglob("*.css")]
        for match in loaded.finditer(page.read_text("utf-8"))
    }
    assert found == set()


def inline(page: Path) -> list[str]:
    """Return what a page holds that a strict policy would refuse."""
    found = []
    for tag in soup(page).find_all(True):
        if tag.name == "style" or (
            tag.name == "script"
            and not tag.get("src")
            and tag.get("type") != "application/json"  # runs nowhere
        ):
            found.append(f"<{tag.name}>{tag.get_text()[:60]}")
        found += [
            f'<{tag.name} {name}="{value}">'
            for name, value in tag.attrs.items()
            if name.startswith("on")
            or name in {"style", "srcdoc"}
            or re.match(r"\s*(?:javascript|data)\s*:", str(value), re.I)
        ]
    return found


def test_no_page_holds_a_script_or_a_style_of_its_own(book):
    found = {
        page.relative_to(book.html).as_posix(): faults[:3]
        for page in pages(book.html)
        if (faults := inline(page))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("<script>run()</script>", "<script>run()"),
        ("<script type=module>run()</script>", "<script>run()"),
        ("<style>p {}</style>", "<style>p {}"),
        ('<p style="top: 0">', '<p style="top: 0">'),
        ('<p ONCLICK="run()">', '<p onclick="run()">'),
        (
            '<a href=" JavaScript:run()">',
            '<a href=" JavaScript:run()">',
        ),
        ('<img src="data:,">', '<img src="data:,">'),
        (
            "<template><svg><g onload=run()></g></svg></template>",
            '<g onload="run()">',
        ),
        ('<iframe srcdoc="<p>">', '<iframe srcdoc="<p>">'),
    ],
)
def test_what_a_policy_would_refuse_is_told(tmp_path, bad, told):
    page = tmp_path / "page.html"
    page.write_text(
        "<a href='x.html'>x</a><script src='x.js'></script>"
        f"<script type='application/json'>{{}}</script>{bad}"
    )
    assert inline(page) == [told]


def test_every_link_between_pages_arrives(folder):
    names, links = {}, []
    for page in pages(folder):
        tags = soup(page).find_all(True)
        names[page] = {
            "",
            *(tag["id"] for tag in tags if tag.get("id")),
        }
        for tag in tags:
            if tag.name == "a" and tag.get("name"):
                names[page].add(tag["name"])
            if tag.name == "a" and tag.get("href"):
                links.append((page, str(tag["href"])))
    assert len(names) > 15
    dead = []
    for page, link in links:
        target, anchor = urldefrag(link)
        if re.match(r"[a-z]+:", target) or "{" in target:
            continue
        # only the page for dead links begins its own at the root
        place = folder if target.startswith("/") else page.parent
        there = (place / unquote(target).lstrip("/")).resolve()
        there = page if not target else there
        if there.suffix not in {".html", ".xhtml"}:
            if not there.exists():
                dead.append((page.name, link))
        elif unquote(anchor) not in names.get(there, set()):
            dead.append((page.name, link))
    assert dead == []


def test_every_chapter_has_a_picture_described_in_words(book):
    for part in PARTS:
        for page in (book.html / part).glob("*.html"):
            drawn = soup(page).select("svg.drawn")
            assert drawn, f"{page.name} has no picture"
            for picture in drawn:
                words = str(picture["aria-label"]).split()
                assert len(words) >= 5, f"{page.name}: {words}"


def test_each_page_tells_when_where_and_with_what_its_cells_ran(book):
    told = re.compile(
        r"Its cells ran on \d\d [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC, on "
        r"CPython 3\.\d+\.\d+\S*, \w+ \S+, \d+ cores?, with ipython "
    )
    for page in pages(book.html):
        # a program's page is long, and quickly seen to have neither
        if not re.search(r"cells\s+ran|cell_(in|out)put", _text(page)):
            continue
        text = soup(page)
        foot = text.select_one(".page-foot")
        ran = text.select_one(".cell_input, .cell_output")
        assert bool(ran) == bool(
            foot and told.search(" ".join(foot.get_text().split()))
        ), page.name


def test_every_glued_value_arrived(folder):
    for page in pages(folder):
        assert "system-message" not in _text(page), page.name
        if "pasted-text" in _text(page):
            for value in soup(page).select(".pasted-text"):
                assert value.get_text().strip(), page.name


def _unmeasured(page: Path) -> str:
    """Return the page without what a run is free to change."""
    text = soup(page)
    for changing in text.select(
        ".tag_measured, .pasted-text, .page-foot"
    ):
        changing.decompose()
    return str(text)


@pytest.mark.xdist_group("kernels")
def test_a_second_run_gives_the_same_pages(book, kernels):
    first, second = pages(book.html), pages(kernels.html)
    assert [page.name for page in first] == [
        page.name for page in second
    ]
    differ = [
        one.relative_to(book.html).as_posix()
        for one, two in zip(first, second, strict=True)
        if _text(one) != _text(two)
        and _unmeasured(one) != _unmeasured(two)
    ]
    assert differ == []


def test_the_pdf_has_all_that_the_pages_have(book):
    assert missing_from_pdf(book.html, book.pdf) == []


def test_the_epub_has_all_that_the_pages_have(book):
    assert missing_from_epub(book.html, book.epub) == []
