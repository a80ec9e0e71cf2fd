"""Shows what a term means where it stands: on hover, and on focus.

Each link to the glossary on an HTML page gets the definition beside it,
hidden; ``terms.css`` shows it, and ``terms.js`` hides it on Escape.
"""

from __future__ import annotations

import re
from html import escape
from itertools import count
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from findings import Findings

_LINK = re.compile(
    r'<a class="reference internal" href="[^"]*#(term-[^"]+)">'
    r'<span class="xref std std-term">.*?</span></a>',
    re.S,
)


#: The definitions of each glossary, by the anchors of terms.
_definitions = Findings[dict[str, str]]("term_definitions")


def collect(app: Sphinx, document: nodes.document) -> None:
    """Keep the definitions of a document that has been read."""
    found = {
        term["ids"][0]: " ".join(item[-1][0].astext().split())
        for glossary in document.findall(addnodes.glossary)
        for item in glossary.findall(nodes.definition_list_item)
        for term in item.findall(nodes.term)
    }
    if found:
        name = app.env.current_document.docname
        _definitions(app.env)[name] = found


def outdated(_app: Sphinx, env: BuildEnvironment) -> set[str]:
    """Have every page written again when a definition has changed."""
    before = getattr(env, "terms_shown", None)
    env.terms_shown = {
        name: dict(found) for name, found in _definitions(env).items()
    }
    return set() if before == env.terms_shown else set(env.found_docs)


def explain(
    app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Put each term's definition beside the link to it."""
    if doctree is None or app.builder.name != "html":
        return
    meanings: dict[str, str] = {}
    for found in _definitions(app.env).values():
        meanings |= found
    number = count(1)

    def beside(link: re.Match[str]) -> str:
        anchor = link[1]
        if anchor not in meanings:
            return link[0]
        name = f"meaning-{next(number)}"
        described = link[0].replace(
            ' href="', f' aria-describedby="{name}" href="', 1
        )
        return (
            f'<span class="term">{described}<span role="tooltip" '
            f'id="{name}">{escape(meanings[anchor])}</span></span>'
        )

    context["body"] = _LINK.sub(beside, context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    _definitions.keep(app)
    app.connect("doctree-read", collect)
    app.connect("env-updated", outdated)
    app.connect("html-page-context", explain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
