"""Names in code lead to Python's documentation, and no build asks for it."""

import pytest
from bs4 import BeautifulSoup

MODULE = '''"""A module."""

import threading


def make() -> threading.Lock:
    """Return a lock of its own."""
    return threading.Lock()
'''
LOCK = "https://docs.python.org/3/library/threading.html#threading.Lock"


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_tree, cell):
    tree = make_tree(tmp_path_factory.mktemp("links") / "a book")
    tree.module("making", MODULE)
    tree.chapters(
        one="```{listing} multithreading.making:make\n```\n\n"
        + cell("import threading as t\nassert len([t.Lock()]) == 1")
        + "\nMore.\n\n"
        + cell("assert not t.Lock().locked()")
    )
    # who asks is sent to where nobody answers
    nowhere = "http://127.0.0.1:9"
    built = tree.build(http_proxy=nowhere, https_proxy=nowhere)
    assert built.status == 0, built.err
    html = (built.html / "one.html").read_text("utf-8")
    return BeautifulSoup(html, "html.parser")


def links(block):
    return [(a.get_text(), a["href"]) for a in block.select("a")]


def test_a_listing_knows_what_its_module_imports(page):
    block = page.select_one("div.literal-block-wrapper pre")
    assert links(block) == [("threading.Lock", LOCK)] * 2
    assert "def make() -> threading.Lock:" in block.get_text()


def test_a_cell_knows_what_a_cell_before_it_imported(page):
    one, two = page.select(".cell_input pre")
    assert ("t.Lock", LOCK) in links(one)
    assert ("t.Lock", LOCK) in links(two)


def test_what_every_reader_knows_leads_nowhere(page):
    assert "len" in page.select_one(".cell_input pre").get_text()
    assert not [
        a for a in page.select("pre a") if a.get_text() == "len"
    ]
