"""Says in the margin what the source chapter said.

A section with the label ``erratum-x`` corrects what the row ``change-x``
of the page of changes names: the row's heading stands beside the section,
with a link to the row.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.nodes import Element
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

LEAD = "In the source chapter"


class source_note(nodes.General, nodes.Element):  # noqa: N801
    """A note of one paragraph beside the section in which it stands."""


def _rows(env: BuildEnvironment) -> dict[str, tuple[str, str, str]]:
    """Return, by name, where each row is and how it is headed."""
    labels = env.domains.standard_domain.labels
    return {
        label.removeprefix("change-"): found
        for label, found in labels.items()
        if label.startswith("change-")
    }


class AddSourceNotes(SphinxPostTransform):
    """Put a note after the title of each section that corrects a row."""

    default_priority = 20

    def run(self, **_: object) -> None:
        """Look for the sections of this document."""
        rows = _rows(self.env)
        for section in list(self.document.findall(nodes.section)):
            for name in section["names"]:
                row = rows.get(name.removeprefix("erratum-"))
                if name.startswith("erratum-") and row:
                    section.insert(1, self._note(*row))

    def _note(self, docname: str, anchor: str, heading: str) -> Element:
        here = self.env.current_document.docname
        link = make_refnode(
            self.app.builder, here, docname, anchor, nodes.Text(heading)
        )
        return source_note("", nodes.paragraph("", "", link))


def outdated(_app: Sphinx, env: BuildEnvironment) -> set[str]:
    """Have every page written again when a row's heading has changed."""
    before = getattr(env, "source_rows", None)
    env.source_rows = _rows(env)
    return set() if before == env.source_rows else set(env.found_docs)


def visit_html(self: Any, node: source_note) -> None:
    """Begin the note, in the margin where there is one."""
    self.body.append(
        f'<aside class="source-note margin" role="note" '
        f'aria-label="{LEAD}">'
    )
    if self.builder.name == "epub":
        node[0].insert(0, nodes.emphasis("", f"{LEAD}: "))


def depart_html(self: Any, _node: source_note) -> None:
    """End the note."""
    self.body.append("</aside>\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(source_note, html=(visit_html, depart_html))
    app.add_post_transform(AddSourceNotes)
    app.connect("env-updated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
