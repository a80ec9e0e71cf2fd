"""The pages of the PDF, and what leads to them; each check sees a fault."""

from io import BytesIO

import pytest
import typst
from pypdf import PdfReader
from pypdf.generic import (
    ArrayObject,
    NameObject,
    NullObject,
    TextStringObject,
)

from layout import (
    captions,
    dead_links,
    empty_pages,
    html_headings,
    missing_bookmarks,
    not_accessible,
    parted_captions,
    stranded_headings,
)

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("printed"),
]

PAGE = """\
#set page(width: 176mm, height: 250mm, margin: (x: 24mm, y: 25mm))
#show heading: set block(sticky: false)
"""


@pytest.fixture(scope="module")
def pdf(book):
    return PdfReader(book.pdf)


def bad(source: str) -> PdfReader:
    """Return the pages that Typst makes of ``source``."""
    return PdfReader(BytesIO(typst.compile((PAGE + source).encode())))


def test_no_page_ends_with_a_heading(pdf):
    assert stranded_headings(pdf) == []


def test_a_heading_at_the_foot_of_a_page_is_seen():
    text = "= Above\nText. #v({}) \n== Of `two`\n#pagebreak()\nText."
    assert stranded_headings(bad(text.format("1fr"))) == [
        "page 1: Of two"
    ]
    followed = bad("= Above\n== Below\nText.")
    assert stranded_headings(followed) == []


def test_no_page_is_half_empty_without_cause(pdf):
    assert empty_pages(pdf) == []


def test_a_half_empty_page_is_seen():
    full = "#v(180mm) Low.\n#pagebreak()\n"
    half = "A line.\n#pagebreak()\n"
    pages = [half, "= One\n" + half, full, half]
    pages += ["= Two\n" + full, half, full, "The end."]
    assert empty_pages(bad("".join(pages))) == [
        "page 2: 4%",
        "page 6: 1%",
    ]


def test_each_caption_is_where_what_it_names_begins(pdf):
    assert len(list(captions(pdf))) > 100
    assert parted_captions(pdf) == []


def test_a_caption_on_another_page_is_seen():
    text = (
        "#set figure.caption(position: top)\n"
        "#show figure: set block(breakable: true)\n#v({})\n"
        "#figure(block(height: 50mm, breakable: false)[A listing.],"
        " caption: [Its name])"
    )
    assert parted_captions(bad(text.format("185mm"))) == [
        "page 1: what it names is on page 2"
    ]
    assert parted_captions(bad(text.format("90mm"))) == []


def test_every_link_and_bookmark_leads_to_a_page(pdf):
    assert dead_links(pdf) == []


def test_a_dead_link_is_seen():
    linked = bad(
        "= Here <here>\n#link(<here>)[one], #link(<here>)[two],"
        " #link(<here>)[three], #link(<here>)[four] and"
        ' #link("https://www.python.org")[five]'
    )
    assert dead_links(linked) == []
    links = [link.get_object() for link in linked.pages[0]["/Annots"]]
    links[0][NameObject("/Dest")] = TextStringObject("nowhere")
    links[1][NameObject("/Dest")] = ArrayObject([NullObject()])
    del links[2]["/Dest"]
    links[2][NameObject("/Contents")] = TextStringObject("no target")
    assert dead_links(linked) == [
        "page 1: Section, page 1",
        "page 1: Section, page 1",
        "page 1: no target",
    ]
    lost = bad("= Lost")
    mark = lost.trailer["/Root"]["/Outlines"]["/First"].get_object()
    mark["/Dest"][0] = NullObject()
    assert dead_links(lost) == ["bookmark: Lost"]


def test_the_bookmarks_are_the_headings_of_the_pages(book, pdf):
    headings = list(html_headings(book.html))
    assert len(headings) > 100
    assert missing_bookmarks(headings, pdf) == []


def test_a_missing_bookmark_is_seen():
    text = "= One\n#heading(bookmarked: false)[Two]\n= Three\n= Four"
    found = missing_bookmarks(
        ["One", "Two", "Four", "Three"], bad(text)
    )
    assert sorted(found) == ["+ Three", "- Three", "- Two"]


def test_it_says_what_it_is_as_pdf_ua_asks(pdf):
    assert not_accessible(pdf, "en") == []


def test_what_it_does_not_say_is_seen():
    plain = bad("Text.")
    assert not_accessible(plain, "de") == [
        "title",
        "author",
        "language",
        "PDF/UA",
    ]
    del plain.trailer["/Root"]["/MarkInfo"]
    assert "tags" in not_accessible(plain, "en")
