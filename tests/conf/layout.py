"""What is wrong with the pages of the PDF, and with what leads to them."""

import re
from collections.abc import Iterator
from difflib import ndiff
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bs4 import BeautifulSoup
from pypdf import PageObject, PdfReader
from pypdf.generic import ArrayObject, DictionaryObject

from compare import html_items, squeeze

#: The margins above and below the text; the head and the foot are outside.
_MARGIN = 25 / 25.4 * 72

#: How much of its height the text of a page must reach down.
_FILLED = 0.65

_UA = "<pdfuaid:part>1</pdfuaid:part>"


class Line(NamedTuple):
    """A line of text, and how far it is from the foot of the page."""

    height: float
    text: str


class Bookmark(NamedTuple):
    """An entry of the outline; pages count from 1."""

    level: int
    title: str
    page: int


def _lines(page: PageObject) -> list[Line]:
    """Return the lines between the margins of a page, from the top."""
    found: dict[float, str] = {}

    def visit(text: str, cm: Any, tm: Any, *_font: Any) -> None:
        if text.strip():
            height = round(tm[5] * cm[3] + cm[5], 1)
            found[height] = found.get(height, "") + text

    page.extract_text(visitor_text=visit)
    top = float(page.mediabox.height) - _MARGIN
    return [
        Line(height, text)
        for height, text in sorted(found.items(), reverse=True)
        if _MARGIN - 1 < height < top
    ]


@cache
def _pages(reader: PdfReader) -> list[list[Line]]:
    """Return the lines of each page; to read a book takes a while."""
    return [_lines(page) for page in reader.pages]


def _bookmarks(reader: PdfReader) -> Iterator[Bookmark]:
    def entries(outline: list, level: int) -> Iterator[Bookmark]:
        for entry in outline:
            if isinstance(entry, list):
                yield from entries(entry, level + 1)
                continue
            page = reader.get_destination_page_number(entry)
            number = -1 if page is None else page + 1
            yield Bookmark(level, str(entry.title), number)

    return entries(reader.outline, 1)


def _openings(reader: PdfReader) -> set[int]:
    """Return the pages on which a part or a chapter begins."""
    return {mark.page for mark in _bookmarks(reader) if mark.level <= 2}


def _is_part(lines: list[Line]) -> bool:
    return bool(lines) and bool(
        re.match(r"Part [IVX]+$", lines[0].text)
    )


def stranded_headings(reader: PdfReader) -> list[str]:
    """Return each heading that its page ends with."""
    found = []
    pages = _pages(reader)
    for mark in _bookmarks(reader):
        lines = pages[mark.page - 1]
        # what the page ends with, and no less than a whole heading
        last = ""
        for line in reversed(lines):
            last = squeeze(line.text) + last
            if len(last) >= len(squeeze(mark.title)):
                break
        if last == squeeze(mark.title) and not _is_part(lines):
            found.append(f"page {mark.page}: {mark.title}")
    return found


def empty_pages(reader: PdfReader) -> list[str]:
    """Return each page that is emptier than where it stands excuses.

    The last page of a chapter may be, as the only one of a part is, and
    what precedes the first.
    """
    openings = _openings(reader)
    first = min(openings, default=1)
    found = []
    for number, lines in enumerate(_pages(reader), start=1):
        height = float(reader.pages[number - 1].mediabox.height)
        full = height - 2 * _MARGIN
        reach = 1 - (lines[-1].height - _MARGIN) / full if lines else 0
        last = number == len(reader.pages) or number + 1 in openings
        if reach < _FILLED and number >= first and not last:
            found.append(f"page {number}: {reach:.0%}")
    return found


def _kids(node: DictionaryObject) -> list[Any]:
    kids = node.get("/K", ArrayObject()).get_object()
    kids = kids if isinstance(kids, ArrayObject) else [kids]
    return [kid.get_object() for kid in kids]


def _pages_of(node: Any, page: int = 0) -> Iterator[int]:
    """Yield the object number of the page of each piece of a node."""
    if not isinstance(node, DictionaryObject):
        yield page
        return
    if "/Pg" in node:
        page = node.raw_get("/Pg").idnum
    if "/K" not in node:
        yield page
    for kid in _kids(node):
        yield from _pages_of(kid, page)


def _captioned(node: Any) -> Iterator[list[Any]]:
    """Yield what stands in each node that has a caption."""
    if isinstance(node, DictionaryObject):
        kids = _kids(node)
        elements = [k for k in kids if isinstance(k, DictionaryObject)]
        if any(kid.get("/S") == "/Caption" for kid in elements):
            yield elements
        for kid in kids:
            yield from _captioned(kid)


def captions(reader: PdfReader) -> Iterator[tuple[int, int]]:
    """Yield the page of each caption, and where what it names begins."""
    numbers = {
        page.indirect_reference.idnum: number
        for number, page in enumerate(reader.pages, start=1)
        if page.indirect_reference
    }
    root = reader.trailer["/Root"]["/StructTreeRoot"].get_object()
    for kids in _captioned(root):
        named: dict[bool, list[int]] = {True: [], False: []}
        for kid in kids:
            named[kid.get("/S") == "/Caption"] += [
                numbers[page] for page in _pages_of(kid) if page
            ]
        if named[False]:
            yield named[True][0], named[False][0]


def parted_captions(reader: PdfReader) -> list[str]:
    """Return each caption that is on another page than what it names."""
    return [
        f"page {caption}: what it names is on page {named}"
        for caption, named in captions(reader)
        if caption != named
    ]


def dead_links(reader: PdfReader) -> list[str]:
    """Return each link, and bookmark, that leads to no page of the file."""
    pages = {page.indirect_reference for page in reader.pages}
    found = []
    for number, page in enumerate(reader.pages, start=1):
        for reference in page.get("/Annots", ArrayObject()):
            link = reference.get_object()
            action = link.get("/A", DictionaryObject()).get_object()
            if link["/Subtype"] != "/Link" or "/URI" in action:
                continue
            target = link.get("/Dest", action.get("/D"))
            if isinstance(target, str):
                named = reader.named_destinations.get(target)
                target = named and named.dest_array
            if not target or target[0] not in pages:
                found.append(f"page {number}: {link.get('/Contents')}")
    return found + [
        f"bookmark: {mark.title}"
        for mark in _bookmarks(reader)
        if mark.page < 1
    ]


def html_headings(html_dir: Path) -> Iterator[str]:
    """Yield what the outline must have, in the order of the side bar."""
    index = html_dir / "index.html"
    page = BeautifulSoup(index.read_text("utf-8"), "html.parser")
    yield "Contents"
    for entry in page.select(
        "nav.bd-links p.caption, nav.bd-links a.reference.internal"
    ):
        if entry.name == "p":
            yield entry.get_text().strip()
            continue
        path = html_dir / str(entry["href"])
        if path.name == "genindex.html":  # its letters are headings
            yield entry.get_text()
            continue
        for kind, text in html_items(path.read_text("utf-8")):
            if kind == "heading":
                yield text.strip()


def missing_bookmarks(
    headings: list[str], reader: PdfReader
) -> list[str]:
    """Return the headings without a bookmark, and the reverse."""
    titles = [mark.title for mark in _bookmarks(reader)]
    return [
        line
        for line in ndiff(
            [squeeze(text) for text in headings],
            [squeeze(re.sub(r"^[\d.]+ ", "", t)) for t in titles],
        )
        if line[0] in "+-"
    ]


def not_accessible(reader: PdfReader, language: str) -> list[str]:
    """Return what PDF/UA asks of a file as a whole and it does not say."""
    root = reader.trailer["/Root"]
    about = reader.metadata
    xmp = (
        root["/Metadata"].get_data().decode()
        if "/Metadata" in root
        else ""
    )
    shown = root.get("/ViewerPreferences", {}).get("/DisplayDocTitle")
    has = {
        "title": bool(about and about.title) and bool(shown),
        "author": bool(about and about.author),
        "language": root.get("/Lang") == language,
        "tags": bool(root.get("/MarkInfo", {}).get("/Marked"))
        and "/StructTreeRoot" in root,
        "PDF/UA": _UA in xmp,
    }
    return [what for what, is_there in has.items() if not is_there]
