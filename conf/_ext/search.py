"""What the search finds: a record for each section of the book.

The pages' script, ``search.js``, has the library MiniSearch index these
records in the reader's browser. So nothing is asked of a server, and the
search works on pages that are opened as files. Sphinx's own index, which
knows whole pages and forgives no misspelling, is not made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from findings import Findings

Record = dict[str, str]


_records = Findings[list[Record]]("search_records")


def collect(app: Sphinx, document: nodes.document) -> None:
    """Keep the records of a document that has been read."""
    name = app.env.current_document.docname
    _records(app.env)[name] = list(_sections(document, name))


def _sections(document: nodes.document, name: str) -> Iterator[Record]:
    page = ""
    for section in document.findall(nodes.section):
        heading = section.next_node(nodes.title)
        title = heading.astext() if heading else ""
        url = f"{name}.html"
        if page:
            url += f"#{section['ids'][0]}"
        page = page or title
        yield {
            "url": url,
            "page": page,
            "title": title,
            "terms": "; ".join(_index_terms(section)),
            "text": " ".join(_own(section, nodes.paragraph)),
            "code": " ".join(_own(section, nodes.literal_block)),
        }
    for item in document.findall(nodes.definition_list_item):
        for term in item.findall(nodes.term):
            if isinstance(item.parent.parent, addnodes.glossary):
                yield {
                    "url": f"{name}.html#{term['ids'][0]}",
                    "page": page,
                    "title": term.astext(),
                    "terms": term.astext(),
                    "text": item[-1].astext(),
                    "code": "",
                }


def _inside(section: nodes.Element) -> Iterator[nodes.Element]:
    """Yield the elements of a section that are in none of its sections."""
    for child in section.children:
        if isinstance(child, nodes.section | addnodes.glossary):
            continue
        if isinstance(child, nodes.Element):
            yield child
            yield from _inside(child)


def _own(section: nodes.section, kind: type) -> Iterator[str]:
    for element in _inside(section):
        if isinstance(element, kind):
            yield " ".join(element.astext().split())


def _index_terms(section: nodes.section) -> Iterator[str]:
    for element in _inside(section):
        if isinstance(element, addnodes.index):
            for _, words, *_ in element["entries"]:
                yield words


def switch_off(app: Sphinx) -> None:
    """Have Sphinx make no index of its own."""
    if app.builder.name == "html":
        app.builder.search = False


def page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the page that shows what was found."""
    if app.builder.name == "html":
        yield "search", {"title": "Search"}, "search.html"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write all records as a script: a page opened as a file can load it."""
    if exception or app.builder.name != "html":
        return
    records = _records(app.env)
    everything = [
        record for name in sorted(records) for record in records[name]
    ]
    data = json.dumps(
        everything, ensure_ascii=False, separators=(",", ":")
    )
    Path(app.outdir, "_static", "search-data.js").write_text(
        f"window.bookSections = {data};\n", "utf-8"
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    _records.keep(app)
    app.connect("builder-inited", switch_off)
    app.connect("doctree-read", collect)
    app.connect("html-collect-pages", page)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
