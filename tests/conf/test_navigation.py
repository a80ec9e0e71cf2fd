"""The list of chapters is the theme's, on every page, and stays true."""

import pytest
from bs4 import BeautifulSoup

#: How the theme makes the list, for each page anew.
BY_THEME = """
{%- if toctree(includehidden=True) %}
<nav class="bd-links bd-docs-nav" aria-label="{{ _('Chapters') }}">
  {{ generate_toctree_html(startdepth=0, kind="sidebar", maxdepth=1,
     collapse=False, includehidden=True, titles_only=True, show_nav_level=1)
     | string
     | replace('role="heading"', 'role="heading" aria-level="2"') | safe }}
</nav>
{%- endif %}
"""
TEMPLATE = "conf/_templates/components/sbt-sidebar-nav.html"


def toctree(*names, caption="", hidden=False):
    options = [f":caption: {caption}"] * bool(caption)
    options += [":hidden:"] * hidden
    lines = ["```{toctree}", *options, "", *names, "```"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def nested(tree):
    """Return a tree whose chapters have pages below them, in folders."""
    (tree.book / "deep" / "er").mkdir(parents=True)
    tree.chapters(
        alone="No page below.",
        over=toctree("deep/under", "shared", hidden=True),
        shared="Below a chapter, and in a part of its own.",
    )
    for name, below in (
        ("deep/under", toctree("er/lowest")),
        ("deep/er/lowest", ""),
        ("orphan", ""),
    ):
        head = "---\norphan: true\n---\n" * (name == "orphan")
        text = f"{head}# The *page* & {name}\n\n## A section\n\n{below}"
        (tree.book / f"{name}.md").write_text(text, "utf-8")
    (tree.book / "index.md").write_text(
        "# Small\n\n"
        + toctree("over", "alone", caption="One & two")
        + toctree("shared", "Elsewhere <https://example.org/>", "self")
        + toctree("Words <genindex>", "An other name <deep/er/lowest>"),
        "utf-8",
    )
    return tree


def pages(built):
    assert built.status == 0, built.err
    return {
        path.relative_to(built.html).as_posix(): path.read_text("utf-8")
        for path in built.html.rglob("*.html")
        if "_static" not in path.parts
    }


def chapters(page):
    soup = BeautifulSoup(page, "html.parser")
    return [a.get_text() for a in soup.select("nav.bd-docs-nav a")]


def test_each_page_has_the_list_that_the_theme_would_make(nested):
    ours = pages(nested.build())
    (nested.root / TEMPLATE).write_text(BY_THEME, "utf-8")
    theirs = pages(nested.build())
    assert {"404.html", "orphan.html", "deep/er/lowest.html"} < set(
        ours
    )
    assert "current active" in ours["deep/er/lowest.html"]
    assert ours == theirs


def test_a_new_title_shows_beside_every_page(nested):
    pages(nested.build())
    page = nested.book / "alone.md"
    text = page.read_text("utf-8").replace("# alone", "# Renamed")
    page.write_text(text, "utf-8")
    for name, page in pages(nested.build()).items():
        assert "Renamed" in chapters(page), name
        assert "alone" not in chapters(page), name


def test_a_chapter_that_moves_moves_beside_every_page(tree):
    tree.chapters(one="", two="")
    pages(tree.build())
    index = tree.book / "index.md"
    text = index.read_text("utf-8").replace("one\ntwo", "two\none")
    index.write_text(text, "utf-8")
    for name, page in pages(tree.build()).items():
        assert chapters(page) == ["two", "one"], name


def test_a_book_of_one_page_has_no_list(tree):
    (tree.book / "index.md").write_text("# Alone\n", "utf-8")
    built = pages(tree.build())
    assert "bd-docs-nav" not in built["index.html"]
