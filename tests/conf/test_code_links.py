"""Names in code link to Python's documentation, once each."""

import threading
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup

from code_links import add_second_names, imports_of, thin

pytestmark = pytest.mark.timeout(300)

DOCS = "https://docs.python.org/3/library/"
MODULE = '''"""A module."""

import threading
from time import sleep

LOCK = threading.Lock()


def wait() -> None:
    """Wait a little."""
    with threading.Lock():
        sleep(0)


class Waiter:
    """Waits."""

    def wait(self) -> None:
        """Wait a little."""
        threading.Event().wait(0)
'''


def found(name: str) -> str:
    """Return what sphinx-codeautolink writes for a name."""
    return (
        '<a class="sphinx-codeautolink-a" '
        f'href="{DOCS}x.html#{name}">{name}</a>'
    )


def test_a_block_links_a_name_once_and_tab_stops_once_in_a_page() -> (
    None
):
    block = f"<pre>{found('a')} {found('a')} {found('b')}</pre>"
    page = thin(f"{block}<p>{block}</p>")
    links = BeautifulSoup(page, "html.parser").select("a.doc")
    assert [(e.get_text(), e.get("tabindex")) for e in links] == [
        ("a", None),
        ("b", None),
        ("a", "-1"),
        ("b", "-1"),
    ]
    text = BeautifulSoup(page, "html.parser").get_text()
    assert text == "a a b" * 2


def test_built_in_names_are_no_links() -> None:
    link = found("len").replace("library/x", "builtins/functions")
    assert thin(f"<pre>{link}</pre>") == "<pre>len</pre>"


def test_a_listing_knows_the_imports_of_its_module(tmp_path) -> None:
    module = tmp_path / "module.py"
    module.write_text(MODULE)
    assert imports_of(module) == [
        "import threading",
        "from time import sleep",
    ]


def test_a_class_is_found_under_the_name_that_it_gives_itself(
    monkeypatch,
) -> None:
    # what `threading.Lock` is from 3.13
    lock = type("lock", (), {"__module__": "_thread"})
    monkeypatch.setattr(threading, "Lock", lock)
    inventory = {
        "py:class": {"threading.Lock": 1, "threading.Thread": 2},
        "py:method": {"threading.Lock.acquire": 3},
    }
    env = SimpleNamespace(
        intersphinx_cache={},
        intersphinx_inventory=inventory,
        intersphinx_named_inventory={},
    )
    add_second_names(None, env)
    assert inventory == {
        "py:class": {
            "threading.Lock": 1,
            "_thread.lock": 1,
            "threading.Thread": 2,
        },
        "py:method": {
            "threading.Lock.acquire": 3,
            "_thread.lock.acquire": 3,
        },
    }


def links(page: str) -> list[tuple[str, str]]:
    soup = BeautifulSoup(page, "html.parser")
    return [
        (link.get_text(), str(link["href"]).removeprefix(DOCS))
        for link in soup.select("pre a[href]")
    ]


def test_listings_and_cells_link_without_a_network(tree, cell):
    tree.module("waiting", MODULE)
    tree.chapters(
        one="\n".join(
            [
                "```{listing} multithreading.waiting:wait\n```",
                "```{listing} multithreading.waiting:Waiter.wait\n```",
                cell("import threading as t"),
                cell(
                    "from multithreading.waiting import wait\n"
                    "wait()\nlock = t.Lock()\nt.Lock().locked()\n",
                    "measured",
                ),
                "```python\nif this is no program\n```",
            ]
        ),
        two="A {py:class}`threading.Lock`.",
    )
    nowhere = "http://127.0.0.1:9"
    offline = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
        nowhere,
    )
    built = tree.build(**offline)
    assert built.status == 0, built.err
    page = (built.html / "one.html").read_text("utf-8")
    expected = [
        ("threading.Lock", "threading.html#threading.Lock"),
        ("sleep", "time.html#time.sleep"),
        ("threading.Event", "threading.html#threading.Event"),
        ("threading", "threading.html#module-threading"),
        ("t.Lock", "threading.html#threading.Lock"),
    ]
    # a lock's methods are known where it is a class, from 3.13
    assert [
        link
        for link in links(page)
        if link[0] not in ("wait", "locked")
    ] == expected
    two = (built.html / "two.html").read_text("utf-8")
    assert f'href="{DOCS}threading.html#threading.Lock"' in two

    # a page that is written anew, but not read anew, keeps its links
    one = built.html / "one.html"
    one.unlink()
    built = tree.build(**offline)
    assert built.status == 0, built.err
    assert one.read_text("utf-8") == page
