"""The records of the search are the sections, and stay so."""

import json

import pytest

pytestmark = pytest.mark.xdist_group("search")

ONE = """A first paragraph.

```{index} single: lock; held
```

(inside)=
## Within

The second one, with `active_count` in it.

```python
threading.active_count()
```
"""
WORDS = "```{glossary}\nlock\n  Held by one thread.\n```\n"


def records(built):
    assert built.status == 0, built.err
    data = (built.html / "_static/search-data.js").read_text("utf-8")
    found = json.loads(data.removeprefix("window.bookSections = ")[:-2])
    return {record["url"]: record for record in found}


@pytest.fixture(scope="module")
def book(tmp_path_factory, make_tree):
    tree = make_tree(tmp_path_factory.mktemp("search") / "a book")
    tree.chapters(one=ONE, words=WORDS, gone="Soon no more.")
    return tree, records(tree.build())


def test_each_section_is_one_record_with_its_own_words(book):
    _, found = book
    assert found["one.html"]["title"] == "one"
    assert found["one.html"]["text"] == "A first paragraph."
    inside = found["one.html#inside"]
    assert (inside["page"], inside["title"]) == ("one", "Within")
    assert inside["text"] == "The second one, with active_count in it."
    assert inside["code"] == "threading.active_count()"


def test_index_entries_and_terms_are_told(book):
    _, found = book
    assert found["one.html"]["terms"] == "lock; held"
    term = found["words.html#term-lock"]
    assert term["title"] == term["terms"] == "lock"
    assert term["text"] == "Held by one thread."


def test_records_follow_their_pages_and_are_made_for_html_alone(book):
    tree, before = book
    page = tree.book / "one.md"
    page.write_text(page.read_text("utf-8").replace("first", "new"))
    (tree.book / "gone.md").unlink()
    tree.chapters()
    after = records(tree.build())
    assert after["one.html"]["text"] == "A new paragraph."
    assert "gone.html" in before
    assert "gone.html" not in after
    assert after["words.html"] == before["words.html"]
    assert not (tree.root / "build/html/searchindex.js").exists()
