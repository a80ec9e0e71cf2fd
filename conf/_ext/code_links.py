"""Names in code link to Python's documentation, sparingly.

sphinx-codeautolink finds what each name of a listing or a cell means,
and the inventory ``conf/python.inv`` where that is documented. This adds
what the book needs beyond that:

- A listing is one object of a module; the imports that its names come
  from stand elsewhere in the module. They go before it, unseen.
- What was found is kept for the next build. The extension's own file
  keeps only documents that end in ``.rst``.
- In each block the first name for a target is a link, the others are
  not. Of a page's links to one target the Tab key stops at the first:
  a keyboard reaches every target, and passes through no target twice.
- The built-in functions, types and exceptions, which every reader meets
  in every block, are no links.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import InventoryAdapter
from sphinx_codeautolink.extension.directive import PrefaceMarker

from listing import CODE

_LINK = re.compile(
    r'<a class="sphinx-codeautolink-a" href="([^"]+)">(.*?)</a>', re.S
)
_BLOCK = re.compile(r"<pre>.*?</pre>", re.S)

#: The pages of Python's documentation that tell of built-in names.
_BUILT_IN = "/3/builtins/"

#: Modules that document, as their own, classes defined elsewhere.
_FRONTS = (
    "asyncio",
    "concurrent.futures",
    "multiprocessing",
    "threading",
)


def imports_of(file: Path) -> list[str]:
    """Return the statements, each a line, by which a module imports."""
    return [
        ast.unparse(statement)
        for statement in ast.parse(file.read_text("utf-8")).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
    ]


def add_imports(app: Sphinx, document: nodes.document) -> None:
    """Put before each listing the imports of its module."""
    if app.builder.name != "html":
        return
    for block in list(document.findall(nodes.literal_block)):
        file = Path(block.get("source") or "")
        if file.suffix == ".py" and file.is_relative_to(CODE):
            before = imports_of(file)
            if block.astext().startswith(" "):
                before.append("class _:")  # a method stands alone
            marker = PrefaceMarker("\n".join(before), "next")
            block.parent.insert(block.parent.index(block), marker)


def add_second_names(_app: Sphinx, env: BuildEnvironment) -> None:
    """Let the inventory know classes by what they say they are."""
    inventory = InventoryAdapter(env).main_inventory
    second: dict[str, str] = {}
    for front in map(import_module, _FRONTS):
        for name in inventory.get("py:class", {}):
            module, _, attribute = name.rpartition(".")
            found = getattr(front, attribute, None)
            if module == front.__name__ and inspect.isclass(found):
                itself = f"{found.__module__}.{found.__qualname__}"
                second[name] = itself
    for kind, items in inventory.items():
        if kind.startswith("py:"):
            for name, item in list(items.items()):
                owner, _, member = name.rpartition(".")
                if name in second:
                    items.setdefault(second[name], item)
                elif owner in second:
                    items.setdefault(f"{second[owner]}.{member}", item)


def follow_changes(app: Sphinx, env: BuildEnvironment) -> None:
    """Have names followed only in pages whose code is new.

    To follow a name is to import its module, and matplotlib takes long.
    """
    if app.builder.name != "html":
        return
    now = env.sphinx_codeautolink_transforms
    known = vars(env).setdefault("code_names", {})
    for page, transforms in list(now.items()):
        kept = app.book_chapters.kept(page)  # type: ignore[attr-defined]
        found = [
            (
                block.source,
                [name.import_components for name in block.names],
            )
            for block in transforms
        ]
        code = hashlib.sha256(
            repr([found, kept and kept.files]).encode()
        ).hexdigest()
        if known.get(page) == code and page in env.code_links:
            del now[page]
        known[page] = code


def recall(app: Sphinx, env: BuildEnvironment) -> None:
    """Add what earlier builds found to what this one has, and keep all.

    The extension has followed the names of the pages whose code is new;
    those of other pages were followed before.
    """
    if app.builder.name == "html":
        now = env.sphinx_codeautolink_transforms
        before = getattr(env, "code_links", {})
        for name in (before.keys() & env.found_docs) - now.keys():
            now[name] = before[name]
        env.code_links = dict(now)


def leave_nothing(app: Sphinx, _exception: Exception | None) -> None:
    """Leave nothing for the extension's own file, which has no use."""
    if app.builder.name == "html":
        app.env.sphinx_codeautolink_transforms.clear()


def thin(body: str) -> str:
    """Return a page's text with the links that it keeps, in short."""
    on_page: set[str] = set()

    def in_block(block: re.Match[str]) -> str:
        here: set[str] = set()

        def link(found: re.Match[str]) -> str:
            target, text = found.groups()
            if target in here or _BUILT_IN in target:
                return text
            again = ' tabindex="-1"' if target in on_page else ""
            here.add(target)
            on_page.add(target)
            return f'<a class="doc" href="{target}"{again}>{text}</a>'

        return _LINK.sub(link, block[0])

    return _BLOCK.sub(in_block, body)


def thin_page(
    _app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Thin out the links of a page."""
    if doctree is not None:
        context["body"] = thin(context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, around what sphinx-codeautolink does."""
    app.connect("doctree-read", add_imports, priority=400)
    app.connect("env-updated", add_second_names, priority=400)
    app.connect("env-updated", follow_changes, priority=450)
    app.connect("env-updated", recall, priority=900)
    app.connect("html-page-context", thin_page, priority=800)
    app.connect("build-finished", leave_nothing, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
