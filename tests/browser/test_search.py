"""The search finds what readers look for, however the page was opened."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import faults

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent
QUERIES: dict[str, list[str]] = tomllib.loads(
    HERE.joinpath("queries.toml").read_text("utf-8")
)["queries"]
INPUT = "#pst-search-dialog input"
FOUND = "#pst-search-dialog .search-results a"
STATUS = "#pst-search-dialog .search-status"


@pytest.fixture
def dialog(visit: Any, site: Path) -> Any:
    """Open a page as a file, and its search."""

    def dialog(name: str = "threads/locks", **options: Any) -> Any:
        page = visit(site / f"{name}.html", **options)
        page.keyboard.press("Control+k")
        page.wait_for_selector(INPUT)
        return page

    return dialog


def ask(page: Any, query: str) -> list[str]:
    """Return the addresses found, from the root of the book."""
    page.fill(INPUT, query)
    page.wait_for_function(
        """() => document.querySelector("#pst-search-dialog .search-status")
            .textContent"""
    )
    found: list[str] = page.locator(FOUND).evaluate_all(
        """(links) => {
            const root = new URL(
                document.documentElement.dataset.content_root, location);
            return links.map(a => a.href.slice(root.href.length));
        }"""
    )
    page.fill(INPUT, "")
    page.wait_for_function(
        """() => !document.querySelector("#pst-search-dialog .search-status")
            .textContent"""
    )
    return found


def rank(found: list[str], wanted: list[str]) -> int:
    """Return the place of the first answer, from 1; 0 where none is."""
    for place, url in enumerate(found, start=1):
        if url in wanted or url.partition("#")[0] in wanted:
            return place
    return 0


def test_queries_of_readers_find_their_page(dialog):
    assert len(QUERIES) >= 40
    page = dialog()
    ranks = {
        query: rank(ask(page, query), wanted)
        for query, wanted in QUERIES.items()
    }
    for query, place in ranks.items():
        print(f"{place or '-':>3}  {query}")
    first = sum(place == 1 for place in ranks.values())
    near = sum(1 <= place <= 3 for place in ranks.values())
    total = len(ranks)
    print(f"of {total}, {first} first, {near} in the first three")
    lost = [q for q, place in ranks.items() if not 1 <= place <= 3]
    assert near >= 0.95 * total, lost


@pytest.mark.parametrize("query", ["deadlock", "deadlok"])
def test_the_definition_comes_first(dialog, query):
    found = ask(dialog(), query)
    assert found[0] == "reference/glossary.html#term-deadlock"


def test_the_keyboard_leads_to_the_place(dialog):
    page = dialog("threads/locks")
    page.keyboard.type("lost update", delay=20)
    page.wait_for_selector(FOUND)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    wanted = page.locator(FOUND).first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "end => location.href.endsWith(end)", arg=wanted.lstrip("./")
    )
    page.wait_for_selector(INPUT, state="hidden")


def test_enter_in_the_field_opens_the_first_however_fast(dialog):
    page = dialog("index")
    page.keyboard.insert_text("deadlock")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reference/glossary.html#term-deadlock")


@pytest.mark.parametrize(
    ("start", "key"),
    [("article a", "Control+k"), (".search-button__button", "Enter")],
)
def test_escape_closes_and_leads_back(visit, site, start, key):
    page = visit(site / "threads/locks.html")
    before = page.locator(f"{start}:visible").first
    before.focus()
    page.keyboard.press(key)
    page.wait_for_selector(INPUT)
    page.keyboard.type("lock")
    page.wait_for_selector(FOUND)
    page.keyboard.press("Escape")
    page.wait_for_selector(INPUT, state="hidden")
    page.wait_for_function(
        "e => e === document.activeElement", arg=before.element_handle()
    )


def test_the_count_is_told(dialog):
    page = dialog()
    page.fill(INPUT, "urllib2")
    page.wait_for_selector(FOUND)
    assert page.locator(STATUS).get_attribute("role") == "status"
    assert "place" in page.locator(STATUS).inner_text()


def test_what_is_not_found_is_said_with_a_hint(dialog):
    page = dialog()
    page.fill(INPUT, "zzqqxx")
    page.wait_for_function(
        "name => document.querySelector(name).textContent", arg=STATUS
    )
    assert "Try" in page.locator(STATUS).inner_text()
    assert page.locator(FOUND).count() == 0


def test_a_query_stays_text(dialog, visit, site):
    evil = "<img src=x onerror=document.title='broken'> lock"
    page = dialog()
    page.fill(INPUT, evil)
    page.wait_for_selector(FOUND)
    assert page.locator(".search-results img").count() == 0
    page = visit(site / "search.html", "?q=" + evil.replace(" ", "%20"))
    page.wait_for_selector(".search-here .search-results a")
    assert page.locator(".search-here img").count() == 0
    assert page.title() != "broken"


def test_the_words_found_are_marked(dialog):
    page = dialog()
    page.fill(INPUT, "deadlocks")
    page.wait_for_selector(FOUND)
    marked = page.locator(f"{FOUND} mark").all_inner_texts()
    assert any(word.lower().startswith("deadlock") for word in marked)


def test_the_search_page_answers_a_link(visit, site):
    page = visit(site / "search.html", "?q=deadlok")
    found = page.wait_for_selector(".search-here .search-results a")
    assert found.get_attribute("href").endswith("#term-deadlock")


def test_without_scripts_the_search_page_says_so(visit, site):
    page = visit(site / "search.html", java_script_enabled=False)
    assert "needs JavaScript" in page.locator("article").inner_text()
    assert page.locator("article input:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_dialog_is_for_everyone(dialog, scheme, width):
    page = dialog(
        color_scheme=scheme,
        reduced_motion="reduce",
        viewport={"width": width, "height": 740},
    )
    page.fill(INPUT, "lock")
    page.wait_for_selector(FOUND)
    assert faults.accessibility(page) == []
    assert faults.sideways(page) == []


@pytest.fixture(scope="module")
def library() -> Path:
    return faults.NODE / "minisearch"


def test_the_library_is_the_published_one(library, site):
    ours = site / "_static" / "vendor" / "minisearch.js"
    published = library / "dist" / "umd" / "index.js"
    assert ours.read_bytes() == published.read_bytes()
