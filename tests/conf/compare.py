"""What the HTML book has and the PDF has not."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]

#: Pages that paper has no use for, or has in another form.
_SKIPPED = re.compile(r"(code|tests|_[a-z]+)/|(genindex|search)\.html$")


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


def missing_from_pdf(html_dir: Path, pdf: Path) -> list[str]:
    """Return each heading and line that a page has and the PDF lacks.

    The PDF must have them in the page's order, after the chapter's title.
    """
    chapters: dict[str, str] = {}
    for title, text in _chapters(PdfReader(pdf)):
        chapters.setdefault(title, text)
    missing = []
    for path in sorted(html_dir.rglob("*.html")):
        name = path.relative_to(html_dir).as_posix()
        if _SKIPPED.match(name):
            continue
        items = list(html_items(path.read_text("utf-8")))
        title = squeeze(
            next((t for k, t in items if k == "heading"), "")
        )
        text, at = chapters.get(title, chapters[""]), 0
        for kind, line in items:
            wanted = squeeze(line)
            found = text.find(wanted, at)
            if found < 0:
                missing.append(f"{name}: {kind}: {line.strip()}")
            else:
                at = found + len(wanted)
    return missing
