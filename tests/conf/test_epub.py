"""The EPUB has what a reader of books needs, and nothing of the web."""

import re
from zipfile import ZIP_STORED, ZipFile

import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.xdist_group("epub")

SHOWN = """\
```{listing} multithreading.lab.tables:Table
```

````{admonition} A solution
:class: tip
:collapsible: closed

What solves it, {term}`soon <later>`.
````

## Wide

| | a long name of a column | and another name | last |
|---|---|---|---|
| row | one | | three |

| a | b | c | d |
|---|---|---|---|
| 1 | 2 | 3 | 4 |
"""
DRAWN = """\
from multithreading.lab.recorder import Span
from multithreading.lab.pictures import lanes

lanes([Span("one", "runs", 0.0, 1.0)], alt="One lane, \\"running\\".")
"""
GLOSSARY = "```{glossary}\nlater\n  Not now.\n```\n"
INDEX = """\
# Small

```{toctree}
:caption: The first part

one
```

```{toctree}
:caption: The last part

other
genindex
```
"""
MOMENT = "1700000000"  # 14 November 2023


@pytest.fixture(scope="module")
def tree(tmp_path_factory, make_tree, cell):
    tree = make_tree(tmp_path_factory.mktemp("epub") / "a book")
    tree.chapters(
        one=SHOWN + cell(DRAWN),
        other=GLOSSARY
        + "```{index} single: word; under it\n```\nText.",
    )
    (tree.book / "index.md").write_text(INDEX, "utf-8")
    return tree


def build(tree):
    built = tree.build(
        *("--builder", "epub", "--fresh-env"),
        SOURCE_DATE_EPOCH=MOMENT,
    )
    assert built.status == 0, built.err
    (made,) = built.html.glob("*.epub")
    return made


@pytest.fixture(scope="module")
def made(tree):
    return build(tree)


@pytest.fixture
def epub(made):
    with ZipFile(made) as package:
        yield package


@pytest.fixture
def read(epub):
    def read(name):
        _, _, text = epub.read(name).decode().partition("?>")
        return BeautifulSoup(text, "html.parser")

    return read


def test_the_package_says_first_and_plainly_what_it_is(epub):
    first = epub.infolist()[0]
    assert first.filename == "mimetype"
    assert first.compress_type == ZIP_STORED
    assert epub.read(first) == b"application/epub+zip"


def test_it_holds_the_book_and_nothing_of_the_web(epub):
    names = epub.namelist()
    assert {"one.xhtml", "other.xhtml", "genindex.xhtml"} < set(names)
    assert not [n for n in names if n.startswith(("code/", "tests/"))]
    assert not [n for n in names if n.endswith((".js", ".html"))]
    for page in (n for n in names if n.endswith("xhtml")):
        assert b"<script" not in epub.read(page), page


def test_the_spine_has_the_order_of_the_book(read):
    package = read("content.opf")
    files = {
        item["id"]: item["href"] for item in package.select("item")
    }
    spine = [files[i["idref"]] for i in package.select("itemref")]
    assert spine == [
        "cover.xhtml",
        "index.xhtml",
        "one.xhtml",
        "other.xhtml",
        "genindex.xhtml",
        "figures/one-1.xhtml",
    ]
    apart = package.select('itemref[linear="no"]')
    assert [files[i["idref"]] for i in apart] == spine[-1:]
    cover = package.select_one('[properties="cover-image"]')
    assert cover["href"] == "cover.png"
    drawn = package.select('[properties="svg"]')
    assert [item["href"] for item in drawn] == [
        "one.xhtml",
        "figures/one-1.xhtml",
    ]


def test_the_package_is_described(read):
    text = read("content.opf").get_text()
    assert re.search(r"urn:uuid:[0-9a-f-]{36}\b", text)
    assert "2023-11-14T22:13:20Z" in text
    assert "alternativeText" in text


def test_the_contents_have_parts_chapters_and_sections(read):
    contents = read("nav.xhtml").select_one('[role="doc-toc"]')
    parts = [span.get_text() for span in contents.select("li > span")]
    assert parts == ["The first part", "The last part"]
    links = [a["href"] for a in contents.select("a")]
    assert links == [
        "index.xhtml",
        "one.xhtml",
        "one.xhtml#wide",
        "other.xhtml",
        "genindex.xhtml",
    ]


def test_a_chapter_names_its_part(read):
    assert (
        read("one.xhtml").select_one(".part").text == "The first part"
    )
    assert read("index.xhtml").select(".part") == []


def test_a_listing_names_its_files_and_links_to_none(read):
    listing = read("one.xhtml").select_one(".literal-block-wrapper")
    assert listing.select("a") == []
    assert "·" not in listing.get_text()
    path = listing.select_one(".source-path").text
    assert path == "code/multithreading/lab/tables.py"


def test_a_solution_is_open(read):
    page = read("one.xhtml")
    assert page.select("details") == []
    assert "What solves it" in page.select_one("div.admonition").text


def test_each_line_of_code_stands_by_itself(read):
    listing = read("one.xhtml").select_one(".literal-block-wrapper pre")
    lines = listing.get_text().rstrip("\n").split("\n")
    spans = listing.select(":scope > .line")
    assert [s.get_text() for s in spans] == [s for s in lines if s]
    assert spans[0]["class"] == ["line", "in0"]
    assert spans[1]["class"] == ["line", "in1"]


def test_a_wide_table_has_its_columns_in_its_cells(read):
    wide, narrow = read("one.xhtml").select("table")
    labels = [label.text for label in wide.select("td .column")]
    assert labels == ["a long name of a column", "last"]
    assert narrow.select(".column") == []


def test_a_picture_is_drawn_in_the_page_with_its_words(read):
    picture = read("one.xhtml").select_one("svg")
    assert picture["aria-label"] == 'One lane, "running".'


def test_a_wide_picture_leads_to_a_larger_one_and_back(read):
    link = read("one.xhtml").select_one("a:has(> svg)")
    assert link["href"] == "figures/one-1.xhtml"
    page = read("figures/one-1.xhtml")
    assert page.select_one("a")["href"] == f"../one.xhtml#{link['id']}"
    picture = page.select_one("svg svg")
    assert picture["aria-label"] == link.svg["aria-label"]
    outer = page.select_one("svg")
    _, _, height, width = outer["viewbox"].split()
    assert (picture["width"], picture["height"]) == (width, height)
    assert float(width) > float(height)


def test_the_index_leads_to_its_places(read):
    (link,) = read("genindex.xhtml").select("ul ul a")
    assert link.text == "under it"
    page, _, place = link["href"].partition("#")
    assert read(page).select_one(f"#{place}")


def test_a_second_build_gives_the_same_bytes(tree, made):
    first = made.read_bytes()
    made.unlink()
    assert build(tree).read_bytes() == first


def test_a_page_without_a_place_is_an_error(tree):
    lost = tree.book / "lost.md"
    lost.write_text("---\norphan: true\n---\n# Lost\n", "utf-8")
    built = tree.build("--builder", "epub")
    lost.unlink()
    assert built.status != 0
    assert re.search(
        r"lost\.md: .*no place.* toctree of index", built.err
    )
