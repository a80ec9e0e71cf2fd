"""The build runs what it must, and only that."""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("execution")


@pytest.fixture(scope="module")
def two_chapters(tmp_path_factory, make_tree, cell):
    """Two chapters, built; the second uses ``base`` through a module.

    Every test changes something of its own and leaves the tree built,
    so that their order does not matter.
    """
    tree = make_tree(tmp_path_factory.mktemp("two") / "a book")
    tree.module("base", "ANSWER = 'forty-two'\n")
    tree.module("through", "from multithreading.base import ANSWER\n")
    tree.module("apart", "ANSWER = 'seven'\n")
    tree.chapters(
        first=cell(
            "from multithreading.apart import ANSWER\nprint(ANSWER)"
        ),
        second=cell(
            "from multithreading import through\nprint(through.ANSWER)"
        ),
    )
    built = tree.build()
    assert built.status == 0, built.err
    assert _ran(built.out) == {"first", "second"}
    return tree


def _ran(out: str) -> set[str]:
    return set(re.findall(r"^ran (\S+) in", out, re.M))


def _page(built, name: str) -> str:
    return (built.html / f"{name}.html").read_text("utf-8")


def _good(built):
    assert built.status == 0, built.err
    return built


def test_nothing_changed_runs_and_writes_nothing(two_chapters):
    _good(two_chapters.build())
    html = two_chapters.root / "build/html"
    before = {page: page.read_bytes() for page in html.glob("*.html")}
    assert _ran(_good(two_chapters.build()).out) == set()
    changed = [p.name for p, b in before.items() if p.read_bytes() != b]
    assert changed == []


def test_a_touched_module_runs_nothing(two_chapters):
    (two_chapters.root / "code/multithreading/base.py").touch()
    assert _ran(_good(two_chapters.build()).out) == set()


def test_an_edited_module_runs_what_uses_it_and_no_other(two_chapters):
    before = _page(_good(two_chapters.build()), "second")
    two_chapters.module("base", "ANSWER = 'a new answer'\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == {"second"}
    assert "a new answer" not in before
    assert "a new answer" in _page(built, "second")


def test_a_module_run_by_name_counts_as_used(two_chapters, cell):
    two_chapters.module("script", "print('one')\n")
    run = (
        "from multithreading.lab.scripts import run_module\n"
        "print(run_module('multithreading.script').stdout)"
    )
    two_chapters.chapters(third=cell(run))
    _good(two_chapters.build())
    two_chapters.module("script", "print('a new line')\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == {"third"}
    assert "a new line" in _page(built, "third")


def test_an_edited_page_without_new_cells_runs_nothing(two_chapters):
    page = two_chapters.book / "first.md"
    page.write_text(page.read_text("utf-8") + "\nOne more sentence.\n")
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "One more sentence." in _page(built, "first")


@pytest.mark.parametrize(
    ("name", "again"),
    [("tqdm", {"first", "second"}), ("stranger", set())],
)
def test_only_what_the_book_asks_for_can_change_an_output(
    two_chapters, tmp_path, name, again
):
    _good(two_chapters.build())
    info = tmp_path / f"{name}-999.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 999.0\n"
    )
    code = two_chapters.root / "code"
    paths = os.pathsep.join([str(code), str(tmp_path)])
    built = _good(two_chapters.build(PYTHONPATH=paths))
    assert again <= _ran(built.out)
    assert again or not _ran(built.out)
    assert _ran(_good(two_chapters.build()).out) == set()


def test_an_edited_template_makes_every_page_anew(two_chapters):
    template = two_chapters.root / "conf/_templates/404.html"
    text = template.read_text("utf-8")
    _good(two_chapters.build())
    template.write_text(
        text.replace("leads nowhere", "ends here"), "utf-8"
    )
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "updating environment: [config changed" in built.out
    assert "ends here" in _page(built, "404")


def test_a_damaged_store_is_run_again(two_chapters):
    for kept in (two_chapters.root / "build/outputs").rglob("*.json"):
        kept.write_text(kept.read_text("utf-8")[:-20], "utf-8")
    (
        two_chapters.root / "build/doctrees/html/environment.pickle"
    ).unlink()
    built = _good(two_chapters.build())
    assert {"first", "second"} <= _ran(built.out)


def test_pages_of_another_branch_are_removed(two_chapters):
    two_chapters.chapters(gone="A chapter of another branch.")
    _good(two_chapters.build())
    html = two_chapters.root / "build/html"
    assert (html / "gone.html").exists()
    (two_chapters.book / "gone.md").unlink()
    two_chapters.chapters()
    _good(two_chapters.build())
    assert not (html / "gone.html").exists()
    assert (html / "second.html").exists()


def test_a_build_folder_that_sphinx_cannot_read_is_made_anew(
    two_chapters,
):
    pickled = (
        two_chapters.root / "build/doctrees/html/environment.pickle"
    )
    pickled.write_bytes(b"not a pickle of this Sphinx")
    built = _good(two_chapters.build())
    assert _ran(built.out) == set()
    assert "seven" in _page(built, "first")


def test_every_import_is_followed_at_any_depth(tmp_path: Path):
    from fingerprint import modules_used

    package = tmp_path / "multithreading"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "a": "from . import nothing\nfrom multithreading.b import x",
        "b": "def f():\n    import multithreading.c\n",
        "c": "",
        "d": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    used = modules_used(["import multithreading.a"], code=tmp_path)
    assert {path.stem for path in used} == {"__init__", "a", "b", "c"}
    all_of_them = modules_used(["not python ("], code=tmp_path)
    assert len(all_of_them) == 5


#: Counts its runs in a file, and claims to be the second.
SECOND = (
    "import pathlib\n"
    "runs = pathlib.Path({path!r})\n"
    "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n"
    "assert runs.read_text() == {claim!r}\n"
    "print('it held')"
)


@pytest.mark.parametrize("way", ["fork", "kernel"])
def test_figures_that_do_not_hold_are_measured_again(tree, cell, way):
    runs = tree.root / "runs.txt"
    code = SECOND.format(path=str(runs), claim="xx")
    tree.chapters(one=cell(code, "measured"), two=cell("print(2)"))
    built = tree.build("-D", f"book_execution={way}")
    assert built.status == 0, built.err
    assert runs.read_text() == "xx"
    assert "one ran beside a busy program, it seems" in built.out
    assert _ran(built.out) == {"one", "two"}
    assert "it held" in _page(built, "one")


@pytest.mark.parametrize(
    ("tags", "times"), [("measured", "xxx"), ("", "x")]
)
def test_a_claim_that_never_holds_is_a_fault(tree, cell, tags, times):
    runs = tree.root / "runs.txt"
    tree.chapters(
        one=cell(SECOND.format(path=str(runs), claim="never"), tags)
    )
    built = tree.build()
    assert built.status == 2
    assert "cell 1 raised AssertionError" in built.err
    assert runs.read_text() == times
