"""What the HTML book has and the PDF, or the EPUB, has not."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]

#: Pages that paper has no use for, or has in another form.
_SKIPPED = re.compile(
    r"(code|tests|_[a-z]+)/|(404|genindex|search)\.html$"
)

#: What one form has in place of another's, or for itself.
_OTHERS = (
    "schedule-explorer, .headerlink, .source-link, .prev-next-footer,"
    "[role=tooltip], .page-foot, .part-name, .claim,"
    ".part, .source-path, .column, .source-note em"
)


def squeeze(text: str) -> str:
    """Return ``text`` without what a line's or a page's end may change."""
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[\s\u200b\u00ad-]", "", text)


def html_items(html: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of each heading and each line of code or output."""
    page = BeautifulSoup(html, "html.parser")
    article = page.find("article") or page
    assert isinstance(article, Tag)
    for added in article.select(
        ".headerlink, .section-number, .linenos"
    ):
        added.decompose()
    for element in article.find_all([*_HEADINGS, "pre"]):
        if element.name != "pre":
            yield "heading", element.get_text()
            continue
        output = element.find_parent(class_="cell_output")
        for line in element.get_text().splitlines():
            yield "output" if output else "code", line


def _chapters(reader: PdfReader) -> Iterator[tuple[str, str]]:
    """Yield the title and the squeezed text of each chapter of the PDF.

    What stands before the first bookmark is the start document's. A
    page that holds the end of one and the start of the next is of both.
    """
    pages = [squeeze(page.extract_text()) for page in reader.pages]

    def starts(outline: list) -> Iterator[tuple[str, int]]:
        for entry in outline:
            if isinstance(entry, list):
                yield from starts(entry)
            else:
                page = reader.get_destination_page_number(entry)
                assert page is not None
                title = re.sub(r"^[\d.]+ ", "", str(entry.title))
                yield squeeze(title), page

    found = [("", 0), *starts(reader.outline)]
    for title, first in found:
        yield title, "".join(pages[first:])


def _pages(html_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page that other forms have."""
    for path in sorted(html_dir.rglob("*.html")):
        name = path.relative_to(html_dir).as_posix()
        if not _SKIPPED.match(name):
            yield name, path.read_text("utf-8")


def _missing(items: list[tuple[str, str]], text: str) -> Iterator[str]:
    """Yield each item that a squeezed text has not, in its place."""
    at = 0
    for kind, line in items:
        wanted = squeeze(line)
        found = text.find(wanted, at)
        if found < 0:
            yield f"{kind}: {line.strip()}"
        else:
            at = found + len(wanted)


def missing_from_pdf(html_dir: Path, pdf: Path) -> list[str]:
    """Return each heading and line that a page has and the PDF lacks.

    The PDF must have them in the page's order, after the chapter's title.
    """
    chapters: dict[str, str] = {}
    for title, text in _chapters(PdfReader(pdf)):
        chapters.setdefault(title, text)
    missing = []
    for name, page in _pages(html_dir):
        items = list(html_items(page))
        title = squeeze(
            next((t for k, t in items if k == "heading"), "")
        )
        text = chapters.get(title, chapters[""])
        missing += [f"{name}: {it}" for it in _missing(items, text)]
    return missing


def _told(html: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of what stands beside headings and code."""
    page = BeautifulSoup(html, "html.parser")
    article = page.find("article") or page
    assert isinstance(article, Tag)
    for other in article.select(_OTHERS):
        other.decompose()
    for link in article.select("a.reference.external"):
        # the theme of the pages shortens its text
        yield "link", str(link["href"])
        link.decompose()
    for caption in article.select(
        ".code-block-caption, figcaption, caption"
    ):
        # where a listing's links were
        yield "caption", re.sub(r"[\s·]+$", "", caption.get_text())
    for element in article.select("p, dt, td, th"):
        if not element.find_parent(["td", "th", "figcaption"]):
            yield element.name, element.get_text()
    for picture in article.select("svg[aria-label]"):
        yield "picture", str(picture["aria-label"])


def missing_from_epub(html_dir: Path, epub_dir: Path) -> list[str]:
    """Return what a page has and its page in the unpacked EPUB lacks.

    Headings and lines of code must be there in the page's order; the
    rest must be there, and as often.
    """
    missing = []
    for name, page in _pages(html_dir):
        path = epub_dir / Path(name).with_suffix(".xhtml")
        if not path.is_file():
            missing.append(f"{name}: the page")
            continue
        there = path.read_text("utf-8")
        text = squeeze(BeautifulSoup(there, "html.parser").get_text())
        missing += [
            f"{name}: {it}"
            for it in _missing(list(html_items(page)), text)
        ]
        told = Counter((k, squeeze(t)) for k, t in _told(page))
        told -= Counter((k, squeeze(t)) for k, t in _told(there))
        missing += [f"{name}: {kind}: {t}" for kind, t in told]
    return missing
