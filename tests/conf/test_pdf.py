import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sphinx
from pypdf import PageObject, PdfReader
from pypdf.generic import ArrayObject, DictionaryObject

from compare import missing_from_pdf

pytestmark = pytest.mark.xdist_group("pdf")

ROOT = Path(__file__).resolve().parents[2]
NAME = "multithreading-in-python.pdf"

INDEX = """\
# Multithreading in Python

Words before the contents; see {ref}`genindex`.

```{toctree}
:caption: The first part
:numbered:

one
two
```

```{toctree}
:caption: The last part

words
```
"""

ONE = """\
---
file_format: mystnb
kernelspec: {name: python3}
---

(one)=
# Code, `shown` and run

```{index} single: apple; pie
```

```{listing} multithreading.lab.recorder:Recorder.span
:caption: How a span is noted
:name: lst-span
```

```{code-cell} python3
:mystnb: {figure: {name: fig-lanes, caption: "Three threads in turn."}}
from multithreading.lab.pictures import lanes
from multithreading.lab.recorder import Span

lanes([Span("A", "run", 0, 1)], alt="One lane, which runs.")
```

```{code-cell} python3
:tags: [writes-stderr]
import sys

from myst_nb import glue

glue("one-value", "forty-two", display=False)
print("a line printed")
print("a line of alarm", file=sys.stderr)
```

```{code-cell} python3
:tags: [raises-exception]
1 / 0
```

```{code-cell} python3
from multithreading.lab.tables import Table

Table([{"column": n} for n in range(3)])
```

The value is {glue:text}`one-value`: {numref}`fig-lanes`, {numref}`lst-span`.

## A section

````{admonition} A solution
:class: tip
:collapsible: closed

```{code-block} python
:caption: Solved
:linenos:
:emphasize-lines: 2

first = 1
second = 2
```
````

### Below it

A note[^same], called twice[^same].

[^same]: The first chapter's note.
"""

TWO = """\
(two)=
# Prose

Both {cite:t}`pep-703` and {cite:p}`pep-3148`, {ref}`one`, {doc}`words`,
a {term}`lock`, {numref}`fig-square` and {numref}`tab-small`.
A note[^same], [outside](https://www.python.org/) and `a.rather.long_name`.

[^same]: The second chapter's note.

```{figure} square.svg
:alt: A square.
:name: fig-square

A figure from a file.
```

:::{table} A small table
:name: tab-small

| Left | Right |
|---|---:|
| a | 1 |
:::

Defined
: as in a list

3. The third
4. The fourth

```{warning}
Take care.
```

```{versionchanged} 3.13
Something.
```

> A quotation.
"""

WORDS = """\
# Words and sources

```{glossary}
lock
mutex
  One at a time.
```

```{bibliography}
:all:
```
"""

SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="90">'
    '<rect width="900" height="90"/></svg>'
)

BOOK = {
    "index.md": INDEX,
    "one.md": ONE,
    "two.md": TWO,
    "words.md": WORDS,
    "square.svg": SQUARE,
}


def build(
    folder: Path, builder: str, *options: str, out: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--no-color"),
            *("-b", builder, *options),
            *("-q", "-c", str(ROOT / "conf"), "-D"),
            f"book_outputs={folder / 'outputs'}",
            *("-d", str(folder / "doctrees"), str(folder / "book")),
            str(folder / (out or builder)),
        ],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1767312000"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=110,
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "book" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("pdf") / "a book", BOOK)
    done = build(folder, "typst", "-W")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pdf(folder: Path) -> PdfReader:
    return PdfReader(folder / "pdf" / NAME)


@pytest.fixture(scope="module")
def text(pdf: PdfReader) -> str:
    return plain(" ".join(page.extract_text() for page in pdf.pages))


def plain(text: str) -> str:
    return " ".join(text.split())


def bookmarks(outline: list[Any]) -> Iterator[str]:
    for entry in outline:
        if isinstance(entry, list):
            yield from bookmarks(entry)
        else:
            yield str(entry.title)


def structure(node: Any) -> Iterator[DictionaryObject]:
    node = node.get_object()
    if isinstance(node, ArrayObject):
        for child in node:
            yield from structure(child)
    elif isinstance(node, DictionaryObject):
        yield node
        if "/K" in node:
            yield from structure(node["/K"])


def links(pdf: PdfReader) -> Iterator[DictionaryObject]:
    for page in pdf.pages:
        for annotation in page.get(
            "/Annots", ArrayObject()
        ).get_object():
            if annotation.get_object()["/Subtype"] == "/Link":
                yield annotation.get_object()


def test_bookmarks_hold_every_part_and_heading(pdf: PdfReader) -> None:
    assert list(bookmarks(pdf.outline)) == [
        "Contents",
        "The first part",
        "1 Code, shown and run",
        "1.1 A section",
        "1.1.1 Below it",
        "2 Prose",
        "The last part",
        "Words and sources",
        "Index",
    ]


def test_contents_name_the_page_of_every_chapter(
    pdf: PdfReader,
) -> None:
    contents = plain(pdf.pages[3].extract_text())
    for title in ("The first part", "1 Code, shown and run", "2 Prose"):
        assert re.search(rf"{title}[ .]* \d+", contents), contents


def test_a_chapter_begins_on_a_new_page(pdf: PdfReader) -> None:
    first = [plain(page.extract_text()) for page in pdf.pages]
    assert sum(text.startswith("Chapter ") for text in first) == 2


@pytest.mark.parametrize(
    "expected",
    [
        "Words before the contents; see Index",
        "Listing 1.1 How a span is noted",
        "code/multithreading/lab/recorder.py",
        "end = time.perf_counter()",
        "lanes([Span(",
        "a line printed",
        "stderr a line of alarm",
        "error ZeroDivisionError: division by zero",
        "The value is forty-two: Fig. 1.1, Listing 1.1.",
        "Fig. 1.1 Three threads in turn.",
        "Listing 1.2 Solved",
        "second = 2",
        "Gross [2023] and [Quinlan, 2009]",
        "Fig. 2.1 A figure from a file.",
        "Table 2.1 A small table",
        "3. The third",
        "A note1, called twice1.",
        "Warning Take care.",
        "Changed in version 3.13: Something.",
        "lock, mutex One at a time.",
        "The first chapter\u2019s note.",
        "The second chapter\u2019s note.",
    ],
)
def test_the_text_holds(expected: str, text: str) -> None:
    assert expected in text


def test_the_page_behind_the_cover_says_what_built_it(
    pdf: PdfReader,
) -> None:
    cover, imprint = (
        plain(page.extract_text()) for page in pdf.pages[:2]
    )
    assert "The book that runs" in cover
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"Its cells ran on CPython {version}" in imprint
    assert f"Sphinx {sphinx.__display_version__}" in imprint
    assert "on 2 January 2026" in imprint
    assert "Open Font License" in imprint


def test_the_file_says_what_it_is(pdf: PdfReader) -> None:
    about = pdf.metadata
    assert about is not None
    assert f"{about.creation_date:%Y-%m-%d}" == "2026-01-02"
    assert "GIL" in (about.keywords or "")
    assert (about.subject or "").startswith("A book on threads")


def test_the_text_is_in_the_typeface_of_the_book(
    pdf: PdfReader,
) -> None:
    fonts = {
        str(font.get_object()["/BaseFont"])
        for page in pdf.pages
        for font in page["/Resources"].get("/Font", {}).values()
    }
    for cut in ("Literata", "Literata-Italic", "Literata-SemiBold"):
        assert any(cut in name for name in fonts), fonts


def test_no_heading_is_the_last_line_of_its_page(
    pdf: PdfReader,
) -> None:
    headings = {plain(name) for name in bookmarks(pdf.outline)}
    for number, page in enumerate(pdf.pages, start=1):
        lines = [
            plain(line) for line in page.extract_text().split("\n")
        ]
        lines = [
            line for line in lines if line and not line.isdecimal()
        ]
        if len(lines) > 2:  # a part has a page of its own
            assert lines[-1] not in headings, number


def test_every_line_of_a_listing_is_there(text: str) -> None:
    source = (ROOT / "code/multithreading/lab/recorder.py").read_text()
    lines = source[source.index("@contextmanager") :].splitlines()
    assert len(lines) > 5
    for line in lines:
        assert plain(line) in text


def test_code_is_as_large_as_the_measure_lets_it_be(
    pdf: PdfReader,
) -> None:
    sizes: Counter[float] = Counter()

    def visit(
        text: str, _cm: Any, _tm: Any, font: Any, size: float
    ) -> None:
        if font and "Mono" in font["/BaseFont"]:
            sizes[round(size, 1)] += len(text)

    for page in pdf.pages:
        page.extract_text(visitor_text=visit)
    assert sizes.most_common(1)[0][0] == 8


def test_every_internal_link_leads_to_a_page(pdf: PdfReader) -> None:
    pages = [page.indirect_reference for page in pdf.pages]
    internal = external = 0
    for link in links(pdf):
        action = link.get("/A", {})
        if action.get("/S") == "/URI":
            external += 1
            continue
        target = link.get("/Dest") or action["/D"]
        if isinstance(target, str):
            target = pdf.named_destinations[target].dest_array
        assert target[0] in pages
        internal += 1
    assert internal > 20
    assert external > 1


def test_links_lead_where_html_leads(pdf: PdfReader) -> None:
    # a citation in another document than its source
    prose, sources = (
        next(
            number
            for number, page in enumerate(pdf.pages)
            if words in plain(page.extract_text())
        )
        for words in ("Gross [2023]", "Sam Gross. PEP 703")
    )
    pages = [page.indirect_reference for page in pdf.pages]
    found = {
        pages.index(pdf.named_destinations[d].dest_array[0])
        if isinstance(d, str)
        else pages.index(d[0])
        for a in pdf.pages[prose].get("/Annots", [])
        if (
            d := a.get_object().get("/Dest")
            or a.get_object()["/A"].get("/D")
        )
    }
    assert sources in found


def test_pictures_have_alternative_texts(pdf: PdfReader) -> None:
    root = pdf.trailer["/Root"]["/StructTreeRoot"]
    alts = {
        str(node["/Alt"]) for node in structure(root) if "/Alt" in node
    }
    assert {"One lane, which runs.", "A square."} <= alts


def test_it_is_tagged_titled_and_in_a_language(pdf: PdfReader) -> None:
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert pdf.metadata is not None
    assert pdf.metadata.title == "Multithreading in Python"
    kinds = {
        str(n.get("/S")) for n in structure(root["/StructTreeRoot"])
    }
    assert {"/H1", "/H2", "/Code", "/Table", "/TH", "/Caption"} <= kinds


def test_fonts_are_in_the_file(pdf: PdfReader) -> None:
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            (inner,) = font.get_object()["/DescendantFonts"]
            descriptor = inner.get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor)


def test_nothing_runs_off_the_page(pdf: PdfReader) -> None:
    width = float(pdf.pages[0].mediabox.width)
    for page in pdf.pages:
        # Typst writes an image's box as its matrix
        for matrix in re.findall(
            rb"([\d.]+) 0 0 [\d.-]+ ([\d.]+) [\d.]+ cm",
            page.get_contents().get_data(),
        ):
            assert float(matrix[0]) + float(matrix[1]) <= width


def test_the_index_names_pages(pdf: PdfReader) -> None:
    index = plain(pdf.pages[-1].extract_text())
    assert re.search(r"apple pie, \d", index)
    assert re.search(r"lock, \d", index)


def test_two_builds_give_the_same_bytes(folder: Path) -> None:
    first = (folder / "pdf" / NAME).read_bytes()
    done = build(folder, "typst", "-W", out="again/typst")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "again" / "pdf" / NAME).read_bytes() == first


def test_the_pdf_lacks_nothing_that_html_has(
    folder: Path, tmp_path: Path
) -> None:
    done = build(folder, "html")
    assert done.returncode == 0, done.stderr
    pdf = folder / "pdf" / NAME
    assert missing_from_pdf(folder / "html", pdf) == []
    page = (folder / "html" / "one.html").read_text("utf-8")
    assert page.count("</article>") == 1
    (tmp_path / "one.html").write_text(
        page.replace(
            "</article>",
            "<h2>A new heading</h2><pre>new code\na line printed</pre>"
            '<div class="cell_output"><pre>new output</pre></div></article>',
        ),
        "utf-8",
    )
    assert missing_from_pdf(tmp_path, pdf) == [
        "one.html: heading: A new heading",
        "one.html: code: new code",
        "one.html: code: a line printed",  # is there, but earlier
        "one.html: output: new output",
    ]


def _chapter(lines: int, *blocks: str) -> str:
    """Return a chapter that begins with so many paragraphs of two lines."""
    two = "As long as a line and then a little more, to fill two. " * 2
    return "\n\n".join(["# A chapter", *[two] * lines, *blocks])


def _rows(count: int, cell: str = "b") -> str:
    row = f"| a | {cell} |"
    return "\n".join(["| A | B |", "|---|---|", *[row] * count])


LOOSE, DENSE = "x = 1\n\n\n\n", "x = 1\n"
FULL_BOOK = {
    "index.md": "# Small\n\n```{toctree}\n"
    "tall\nloose\ndense\nlong\nshort\ncell\n```\n",
    "tall.svg": SQUARE.replace('"90"', '"900"'),
    "tall.md": _chapter(
        9,
        "```{figure} tall.svg\n:alt: Tall.\n:name: tall\n\nTall.\n```",
        "What follows {numref}`tall`.",
    ),
    "loose.md": _chapter(9, f"```python\n{LOOSE * 20}```"),
    "dense.md": _chapter(9, f"```python\n{DENSE * 60}```"),
    "long.md": _chapter(9, "The rows:", _rows(9, "b " * 120)),
    "short.md": _chapter(10, "The rows:", _rows(7)),
    "cell.md": "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n"
    + _chapter(10, f"```{{code-cell}}\n{DENSE * 6}print('out')\n```"),
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    """Return chapters whose first page has no room for all they hold."""
    folder = write(tmp_path_factory.mktemp("full"), FULL_BOOK)
    done = build(folder, "typst", "-W")
    assert (done.returncode, done.stderr) == (0, "")
    return PdfReader(folder / "pdf" / NAME)


def _pages(full: PdfReader, chapter: int) -> list[PageObject]:
    """Return the pages of a chapter."""
    marks = full.outline[1 + chapter : 3 + chapter]
    ends = [full.get_destination_page_number(mark) for mark in marks]
    return full.pages[slice(*[*ends, None][:2])]


def _texts(full: PdfReader, chapter: int) -> list[str]:
    return [plain(p.extract_text()) for p in _pages(full, chapter)]


def test_text_runs_on_where_a_tall_picture_does_not_fit(
    full: PdfReader,
) -> None:
    first, second = _texts(full, 0)
    assert first.endswith("What follows Fig. 1. 4")
    assert second == "A chapter 5 Fig. 1 Tall."
    called, _ = _pages(full, 0)
    assert "page 5" in [
        link.get_object()["/Contents"] for link in called["/Annots"]
    ]


def test_no_page_begins_with_an_empty_line_of_code(
    full: PdfReader,
) -> None:
    def top(page: PageObject) -> float:
        heights = []

        def visit(text: str, cm: Any, tm: Any, *_font: Any) -> None:
            if "x" in text:
                heights.append(tm[5] * cm[3] + cm[5])

        page.extract_text(visitor_text=visit)
        return max(heights)

    loose, dense = (_pages(full, chapter)[1] for chapter in (1, 2))
    assert top(loose) == top(dense)


def test_a_tall_table_breaks_between_its_rows(full: PdfReader) -> None:
    first, second = _texts(full, 3)
    row = " a" + 120 * " b"
    assert re.search(rf"The rows: A B({row})+ \d+$", first)
    assert re.search(rf" A B({row})+$", second)


def test_a_paragraph_stays_with_the_table_below_it(
    full: PdfReader,
) -> None:
    first, second = _texts(full, 4)
    assert re.search(r"to fill two. \d+$", first)
    assert second.endswith(" The rows: A B" + 7 * " a b")


def test_a_short_cell_stays_with_what_it_printed(
    full: PdfReader,
) -> None:
    first, second = _texts(full, 5)
    assert re.search(r"to fill two. \d+$", first)
    assert second.endswith(6 * "x = 1 " + "print('out') out")


def test_what_would_be_lost_fails_the_build(tmp_path: Path) -> None:
    lost = [
        ("![](square.svg)", "square.svg has no alternative text"),
        (
            "```{math}\nx\n```",
            "the PDF has no form for the node math_block",
        ),
        (
            "```{eval-rst}\n>>> 1\n```",
            "the PDF has no form for the node doctest_block",
        ),
    ]
    text = "\n\n".join(["# Small", *(source for source, _ in lost)])
    write(tmp_path, {"index.md": text, "square.svg": SQUARE})
    done = build(tmp_path, "typst", "-W")
    assert done.returncode != 0
    warnings = done.stderr.splitlines()
    assert len(warnings) == len(lost) + 1, done.stderr
    for warning, (_, expected) in zip(warnings, lost, strict=False):
        assert re.search(
            rf"index\.md:\d*: WARNING: {expected}", warning
        )
    assert "missing alt text" in warnings[-1]  # Typst's own word


def test_a_warning_of_typst_fails_the_build(tmp_path: Path) -> None:
    text = '# Small\n\n```{raw} typst\n#set text(font: "Nope")\n```\n'
    write(tmp_path, {"index.md": text})
    done = build(tmp_path, "typst", "-W")
    assert done.returncode != 0
    (warning,) = done.stderr.splitlines()
    assert warning == "WARNING: index: unknown font family: nope"


def test_an_error_of_typst_is_one_line_with_the_document(
    tmp_path: Path,
) -> None:
    index = "# Small\n\n```{toctree}\npart/chapter\n```\n"
    chapter = "# Chapter\n\n```{raw} typst\n#nothing()\n```\n"
    write(tmp_path, {"index.md": index, "part/chapter.md": chapter})
    done = build(tmp_path, "typst")
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "ERROR: part/chapter: unknown variable: nothing"
    ]
    assert not (tmp_path / "pdf" / NAME).exists()
