"""A term brings its meaning along, and follows the glossary."""

from bs4 import BeautifulSoup

GLOSSARY = """```{{glossary}}
lock
  {meaning}

  A second paragraph, for those who look it up.
```
"""


def meanings(built, page="one"):
    html = (built.html / f"{page}.html").read_text("utf-8")
    soup = BeautifulSoup(html, "html.parser")
    found = []
    for link in soup.select(".term > a"):
        about = soup.find(id=link["aria-describedby"])
        assert about["role"] == "tooltip"
        assert link["href"] == "words.html#term-lock"
        found.append(about.get_text())
    return found


def test_a_term_has_its_meaning_beside_it_and_keeps_it_true(tree):
    tree.chapters(
        one="A {term}`lock`, two {term}`locks <lock>`.",
        other="No word of it.",
        words=GLOSSARY.format(meaning="Held by <one> thread."),
    )
    built = tree.build()
    assert built.status == 0, built.err
    assert meanings(built) == ["Held by <one> thread."] * 2
    assert meanings(built, "other") == []

    words = tree.book / "words.md"
    text = words.read_text("utf-8").replace("<one>", "a single")
    words.write_text(text, "utf-8")
    built = tree.build()
    assert built.status == 0, built.err
    assert meanings(built) == ["Held by a single thread."] * 2
