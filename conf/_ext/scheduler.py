"""Gives the pages that hold an `Explorer` its script and its style."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from listing import module_file

_MODULE = "multithreading.lab.explorer"
_SCRIPT, _STYLE = "explorer.js", "explorer.css"


def copy_files(_app: Sphinx, config: Config) -> None:
    """Have Sphinx copy both files, which stand beside the module."""
    folder = module_file(_MODULE).parent
    config.html_static_path += [
        str(folder / name) for name in (_SCRIPT, _STYLE)
    ]


def add_script(
    _app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Name the script in the head of a page that needs it."""
    if doctree is not None and any(
        "<schedule-explorer" in raw.astext()
        for raw in doctree.findall(nodes.raw)
    ):
        context.setdefault("page_scripts", []).append(_SCRIPT)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_css_file(_STYLE)
    app.connect("config-inited", copy_files)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
