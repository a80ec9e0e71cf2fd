"""``{listing}``: shows one object of the package, as it runs and is tested.

::

    ```{listing} multithreading.threads.locks:Account.deposit
    :caption: Broken: reads, then writes
    ```

The object is read from the file that ``import`` finds, which must lie in
``code/``. The listing has a number, a label, and links to pages of the
whole module and of its test.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralInclude
from sphinx.environment import BuildEnvironment
from sphinx.highlighting import PygmentsBridge
from sphinx.util.docutils import SphinxTranslator
from sphinx.util.osutil import relative_uri

from findings import Findings

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "code"

#: The files that the listings of each document link to.
_shown = Findings[set[Path]]("listed_files")


class source_link(nodes.Inline, nodes.TextElement):  # noqa: N801
    """A link to the page of a source file; ``page`` names it."""


def module_file(module: str) -> Path:
    """Return the file of a module that is imported from ``code/``.

    Raises ValueError, with the remedy, where it is not.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.origin:
        raise ValueError(
            f"there is no module {module}: is it written, and spelt so?"
        )
    path = Path(spec.origin).resolve()
    if not path.is_relative_to(CODE):
        raise ValueError(
            f"{module} is imported from {path}, not from code/: "
            "install the package with 'pip install -e .'"
        )
    return path


def test_file(path: Path) -> Path:
    """Return the test of a module, which has its place and its stem."""
    inside = path.relative_to(CODE / "multithreading")
    return ROOT / "tests" / inside.with_name(f"test_{inside.name}")


def page_of(path: Path) -> str:
    """Return the name of the page that shows a source file."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


class Listing(LiteralInclude):
    """Show one object of a module, or the whole of it."""

    def run(self) -> list[nodes.Node]:
        """Return the listing, with its caption and its links."""
        module, _, name = self.arguments[0].partition(":")
        try:
            path = module_file(module)
        except ValueError as problem:
            raise self.error(f"listing: {problem}") from None
        stem = module.rpartition(".")[2]
        label = f"lst-{stem}-{name}" if name else f"lst-{stem}"
        label = label.lower().replace(".", "-").replace("_", "-")
        self.arguments[0] = "/" + os.path.relpath(path, self.env.srcdir)
        if name:
            self.options["pyobject"] = name
        self.options.setdefault("caption", f"`{name or module}`")
        self.options.setdefault("name", label)
        self.options.setdefault("language", "python")
        shown = super().run()
        for node in shown:
            for caption in node.findall(nodes.caption):
                caption += self._links(path)
        return shown

    def _links(self, path: Path) -> list[nodes.Node]:
        links: list[nodes.Node] = []
        for text, file in (("module", path), ("test", test_file(path))):
            if file.is_file():
                links += [
                    nodes.Text(" · "),
                    source_link("", text, page=page_of(file)),
                ]
                shown = _shown(self.env)
                shown.setdefault(self.env.docname, set()).add(file)
        return links


def listed_files(env: BuildEnvironment) -> list[Path]:
    """Return the modules, and their tests, that listings link to."""
    return sorted(set[Path]().union(*_shown(env).values()))


def visit_html(self: SphinxTranslator, node: source_link) -> None:
    """Link to the page, from wherever the listing stands."""
    builder: Any = self.builder
    here = builder.get_target_uri(builder.current_docname)
    there = relative_uri(here, builder.get_target_uri(node["page"]))
    self.body.append(f'<a class="source-link" href="{escape(there)}">')


def depart_html(self: SphinxTranslator, _node: source_link) -> None:
    """End the link."""
    self.body.append("</a>")


def source_pages(
    app: Sphinx,
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each module and each test that a listing names."""
    bridge = PygmentsBridge("html", app.config.pygments_style)
    for path in listed_files(app.env):
        name = path.relative_to(ROOT).as_posix()
        heading = f'<h1 class="source-path">{escape(name)}</h1>'
        code = bridge.highlight_block(
            path.read_text("utf-8"), "python", linenos="inline"
        )
        yield (
            page_of(path),
            {"title": name, "body": heading + code},
            "page.html",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    _shown.keep(app)
    app.add_directive("listing", Listing)
    app.add_node(source_link, html=(visit_html, depart_html))
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
