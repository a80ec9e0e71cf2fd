"""The list of chapters beside each page, and the part a page belongs to.

The theme makes the list anew for every page, so that a book of four times
as many chapters takes sixteen times as long. Here the theme makes it once
in a build, for a page that is in no chapter; each page then gets its own
addresses, and the marks on the chapter where it stands. What a page shows
is what the theme would have made for it, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from docutils import nodes
from pydata_sphinx_theme.toctree import add_toctree_functions
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.adapters.toctree import global_toctree_for_doc

#: What the theme is asked for: the chapters, and nothing below them.
SHOWN = {
    "collapse": False,
    "includehidden": True,
    "maxdepth": 1,
    "titles_only": True,
}

#: A page of the root folder that is in no toctree.
_NOWHERE = "search"

_LIST = re.compile(r'(?=<ul class="nav )')
_ITEM = re.compile(
    r'<li class="toctree-l1"><a class="reference internal" href="([^"]+)"'
)


def _toctrees(env: BuildEnvironment) -> list[addnodes.toctree]:
    # not `env.master_doctree`, which the environment would keep for ever
    contents = env.get_doctree(env.config.root_doc)
    return list(contents.findall(addnodes.toctree))


class Navigation:
    """The list of chapters of one build."""

    def __init__(self, app: Sphinx) -> None:
        self._app = app
        self._env: BuildEnvironment = app.env
        self._builder: Any = app.builder

    @cached_property
    def parts(self) -> dict[str, str | None]:
        """The caption of the toctree that names each chapter."""
        return {
            name: toctree["caption"]
            for toctree in _toctrees(self._env)
            for name in toctree["includefiles"]
        }

    @cached_property
    def _lists(self) -> list[list[str]]:
        """The lists, each cut so that every second piece names a page."""
        pages = {
            self._builder.get_target_uri(name): name
            for name in (*self._env.found_docs, "genindex")
        }
        lists = []
        for text in _LIST.split(self._made_by_theme()):
            pieces = _ITEM.split(text)
            pieces[1::2] = (pages[address] for address in pieces[1::2])
            lists.append(pieces)
        return lists

    def _made_by_theme(self) -> str:
        toctree = global_toctree_for_doc(
            self._env,
            _NOWHERE,
            self._builder,
            tags=self._builder.tags,
            **SHOWN,
        )
        if toctree is None:
            return ""
        html = self._builder.render_partial(toctree)["fragment"]
        theme: dict[str, Any] = {"toctree": lambda **_: html}
        add_toctree_functions(self._app, _NOWHERE, "", theme, None)
        made = theme["generate_toctree_html"]
        return str(made(kind="sidebar", startdepth=0, **SHOWN))

    @cached_property
    def _above(self) -> dict[str, set[str]]:
        """The pages that name each page in a toctree.

        The first page is above all, and would be marked on each.
        """
        above: dict[str, set[str]] = {}
        includes = dict(self._env.toctree_includes)
        includes.pop(self._env.config.root_doc, None)
        for page, named in includes.items():
            for name in named:
                above.setdefault(name, set()).add(page)
        return above

    def _branch(self, page: str) -> set[str]:
        """Return the page, and all that lead down to it."""
        found: set[str] = set()
        waiting = {page}
        while waiting:
            found |= waiting
            waiting = {
                above
                for name in waiting
                for above in self._above.get(name, ())
            } - found
        return found

    def beside(self, page: str, pathto: Callable[[str], str]) -> str:
        """Return the list as ``page`` shows it; '' if it would be empty.

        ``pathto`` gives the address of a page.
        """
        branch = self._branch(page)
        shown = []
        for text, *items in self._lists:
            names = items[0::2]
            if not branch.isdisjoint(names):
                text = text.replace('class="', 'class="current ', 1)
            shown.append(text)
            for name, after in zip(names, items[1::2], strict=True):
                active = " current active" if name in branch else ""
                itself = "current " if name == page else ""
                shown.append(
                    f'<li class="toctree-l1{active}"><a class="{itself}'
                    f'reference internal" href="{pathto(name)}"{after}'
                )
        return "".join(shown)


def outdated(app: Sphinx, env: BuildEnvironment) -> set[str]:
    """Have every page written again when chapters are named otherwise."""
    if app.builder.name != "html":
        return set()
    before = getattr(env, "chapters_shown", None)
    env.chapters_shown = (
        {name: title.astext() for name, title in env.titles.items()},
        dict(env.toctree_includes),
        [(t["caption"], t["entries"]) for t in _toctrees(env)],
    )
    return (
        set() if before == env.chapters_shown else set(env.found_docs)
    )


def begin(app: Sphinx) -> None:
    """Begin a build with nothing known of its chapters."""
    app.book_navigation = Navigation(app)


def add(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Give the page's templates the list, and the name of its part."""
    if app.builder.name != "html":
        return
    navigation: Navigation = app.book_navigation
    if doctree is not None and page in navigation.parts:
        context["part"] = navigation.parts[page]
    context["chapters"] = lambda: navigation.beside(
        # another extension may give the page other addresses by then
        page,
        context["pathto"],
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", begin)
    app.connect("env-updated", outdated)
    # before the theme, which looks whether a template is empty
    app.connect("html-page-context", add, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
