"""The chapters' text keeps its promises to the code, and to the reader."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebooks import code_cells, parse

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
PACKAGE = ROOT / "code" / "multithreading"
PARTS = ("threads", "multitasking")
CHAPTERS = sorted(
    path for part in PARTS for path in (BOOK / part).glob("*.md")
)
PAGES = sorted(BOOK.rglob("*.md"))
LISTING = re.compile(r"^`{3,}\{listing\} ([\w.]+):?([\w.]*)$", re.M)


def name(path: Path) -> str:
    """Return a page's name, as a test's identifier shows it."""
    return path.relative_to(BOOK).with_suffix("").as_posix()


every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
every_page = pytest.mark.parametrize("page", PAGES, ids=name)


def listings(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the object of each listing."""
    yield from LISTING.findall(page.read_text("utf-8"))


def file_testing(module: str) -> Path:
    """Return the file that tests a module of the package."""
    *folders, stem = module.split(".")[1:]
    return ROOT.joinpath("tests", *folders, f"test_{stem}.py")


def prose(page: Path) -> str:
    """Return the page's text without its code and its other fences."""
    text = page.read_text("utf-8")
    return re.sub(
        r"^(`{3,})(?!`).*?^\1\s*$", "", text, flags=re.M | re.S
    )


def test_each_chapter_has_its_module_and_its_test():
    chapters = {name(path) for path in CHAPTERS}
    modules = {
        f"{part}/{path.stem}"
        for part in PARTS
        for path in (PACKAGE / part).glob("[!_]*.py")
    }
    tests = {
        f"{part}/{path.stem.removeprefix('test_')}"
        for part in PARTS
        for path in (ROOT / "tests" / part).glob("test_*.py")
    }
    assert chapters == modules == tests


def test_each_module_is_shown_by_its_own_chapter():
    for chapter in CHAPTERS:
        own = "multithreading." + name(chapter).replace("/", ".")
        shown = {module for module, _ in listings(chapter)}
        assert own in shown, f"{name(chapter)} shows nothing of {own}"


@every_page
def test_each_listing_is_tested(page):
    untested = [
        f"{module}:{shown}"
        for module, shown in listings(page)
        if shown.partition(".")[0]
        not in _names_in(file_testing(module), module)
    ]
    assert untested == []


def _names_in(test: Path, module: str) -> set[str]:
    """Return the names that a test uses, in its code.

    A test that runs the module as a program uses its ``main``, and says
    in its own name which other function that program runs.
    """
    names = set()
    for node in ast.walk(ast.parse(test.read_text("utf-8"))):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            names.update(node.name.split("_"))
        elif isinstance(node, ast.Constant) and node.value == module:
            names.add("main")
    return names


@every_page
def test_each_listing_is_read_at_a_glance(page):
    for module, shown in listings(page):
        found = importlib.import_module(module)
        for part in filter(None, shown.split(".")):
            found = inspect.getattr_static(found, part)
            found = getattr(found, "__func__", found)
            found = getattr(found, "fget", found)
        lines = inspect.getsource(found).splitlines()
        assert len(lines) <= 30, f"{module}:{shown}: {len(lines)} lines"
        long = [line for line in lines if len(line) > 72]
        assert not long, f"{module}:{shown}: {long}"
        if inspect.isfunction(found) or inspect.isclass(found):
            assert inspect.getdoc(found), f"{shown} has no docstring"


@every_page
def test_what_a_listing_calls_broken_its_docstring_does_too(page):
    text = page.read_text("utf-8")
    pattern = re.compile(
        r"\{listing\} ([\w.]+):([\w.]+)\n:caption: .*\bbroken\b", re.I
    )
    for module, shown in pattern.findall(text):
        found = importlib.import_module(module)
        for part in shown.split("."):
            found = getattr(found, part)
        assert "broken" in (inspect.getdoc(found) or "").lower(), shown


@every_page
def test_each_cell_asserts_what_its_page_claims(page):
    claims = []
    for cell in code_cells(parse(page.read_text("utf-8"))):
        raises = "raises-exception" in cell.metadata.get("tags", [])
        claimed = "assert " in cell.source or ".expect(" in cell.source
        claims.append(raises or claimed)
    silent = [
        n for n, claimed in enumerate(claims, start=1) if not claimed
    ]
    assert silent == [], f"cells without an assertion: {silent}"


@every_chapter
def test_each_chapter_has_every_part_of_its_anatomy(chapter):
    text = chapter.read_text("utf-8")
    title = re.search(r"^# .+\n\n(\*.+\*)$", text, re.M)
    assert title, "no claim in italics under the title"
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[-3:] == [
        "In the source chapter",
        "Exercises",
        "Sources",
    ]
    after = text[text.index("## Sources") :]
    assert "{cite:" in after
    tests = file_testing(
        "multithreading." + name(chapter).replace("/", ".")
    )
    for number in re.findall(r"^\*\*(\d+)\.\*\*", text, re.M):
        assert f"def test_exercise_{number}" in tests.read_text("utf-8")
    assert re.search(r"^\*\*1\.\*\*", text, re.M), "no exercise"
    stem = chapter.stem.replace("_", "-")
    assert f"({stem})=" in text
    assert f"({stem}-source)=" in text
    assert len(prose(chapter).split()) <= 2500


BANNED = re.compile(
    r"in this (chapter|section) (we|you)|let's |it is important to note"
    r"|note that|\b(simply|obviously|of course|delve|seamless|powerful"
    r"|best practices?|robust and|easily)\b",
    re.I,
)


@every_page
def test_the_prose_has_no_filler(page):
    assert [m[0] for m in BANNED.finditer(prose(page))] == []


@every_page
def test_no_question_is_rhetorical(page):
    if page.stem == "questions":
        return  # they are the readers'
    sentences = re.findall(r"[^.?!\n]*\?(?=\s|$)", prose(page))
    ours = [
        sentence
        for sentence in sentences
        # the source's own heading, and what an exercise asks
        if "How is multitasking accomplished" not in sentence
    ]
    assert ours == []


@every_page
def test_thread_safe_never_stands_by_itself(page):
    for line in prose(page).splitlines():
        if re.search(r"thread[- ]safe", line, re.I):
            assert re.search(r"operation|build|between", line), line


UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "seconds": 1.0}


@every_page
def test_a_number_with_a_unit_is_given_glued_or_cited(page):
    """A time in prose stands in the code, or comes from a run or a source."""
    text = page.read_text("utf-8")
    modules = {module for module, _ in listings(page)}
    code = [cell.source for cell in code_cells(parse(text))] + [
        inspect.getsource(importlib.import_module(name))
        for name in modules
    ]
    given = {
        node.value
        for source in code
        for node in ast.walk(_parsed(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
    }
    for paragraph in re.split(r"\n\s*\n", prose(page)):
        if re.search(r"\{cite|the source", paragraph):
            continue
        bare = re.sub(r"\{[\w:]+\}`[^`]*`|`[^`]*`", "", paragraph)
        assert not re.findall(r"\d+ ?%", bare), page.name
        for times in re.findall(r"(\d+(?:\.\d+)?) times as", bare):
            assert float(times) in given, f"{page.name}: {times} times"
        pattern = r"(?<![\w.])(\d+(?:\.\d+)?)[  ](ns|µs|ms|s|seconds)\b"
        for number, unit in re.findall(pattern, bare):
            seconds = round(float(number) * UNITS[unit], 9)
            assert seconds in given, f"{page.name}: {number} {unit}"


def _parsed(source: str) -> ast.AST:
    """Return the source's tree; a cell may await, as a script may not."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(source, "cell", "exec", flags)


@every_page
def test_no_page_names_a_machine(page):
    text = page.read_text("utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/\w", text)
