"""Makes the PDF: ``sphinx-build -b typst -c conf book build/typst``.

The package sphinxcontrib-typstbuilder turns doctrees into calls of Typst
functions; ``conf/pdf/book.typ`` defines them, so every look is there. This
module mends what the package leaves out or gets wrong, and compiles the
result with the compiler in the wheel ``typst``. It works on copies of the
doctrees, so that HTML sees none of it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.nodes import Element
from sphinx import __display_version__ as sphinx_version
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment.adapters.indexentries import IndexEntries
from sphinx.util import logging
from sphinxcontrib_typstbuilder._builder import TypstBuilder
from sphinxcontrib_typstbuilder._writer import (
    TypstTranslator,
    escape_raw_str,
    escape_str,
)

from listing import source_link

if TYPE_CHECKING:
    import typst

logger = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parents[1]
FONTS, STATIC = CONF / "fonts", CONF / "_static"

#: Where Typst's highlighter has another name for a language than Sphinx.
_LANGUAGES = {
    "ipython": "python",
    "ipython3": "python",
    "python3": "python",
    "pycon": "python",
    "console": "sh",
}

#: The kinds of `code`, by the class of the node or what holds it.
_KINDS = {
    "stderr": "stderr",
    "traceback": "error",
    "output": "output",
    "cell_input": "input",
}

#: The functions for links, by the class of what is inside them.
_LINKS = {
    "doc": "page-link",
    "std-ref": "page-link",
    "std-term": "term-link",
}

#: The comment that tells `_explain` where a document begins.
_MARK = "// document "

#: Nodes that the package writes and ``book.typ`` has no function for.
_WITHOUT_FORM = (
    "acks",
    "centered",
    "desc",
    "download_reference",
    "field_list",
    "graphviz",
    "hlist",
    "line_block",
    "math",
    "math_block",
    "option_list",
    "productionlist",
    "sidebar",
    "topic",
)


class BookBuilder(TypstBuilder):
    """Writes the book as one Typst document, and that as a PDF."""

    def get_target_uri(
        self, docname: str, typ: str | None = None
    ) -> str:
        """Return the label of a document, or of the printed index."""
        if docname == "genindex":
            return "%genindex"
        return super().get_target_uri(docname, typ)

    def _assemble_doctree(
        self, startdocname: str, _appendices: list[str]
    ) -> nodes.document:
        self.docnames = {startdocname, *self._reached(startdocname)}
        tree = self._inlined(startdocname, -1)
        tree["docname"] = startdocname
        return tree

    def _reached(self, docname: str) -> Iterator[str]:
        children = self.env.toctree_includes.get(docname, [])
        for child in self._chapters(children):
            yield child
            yield from self._reached(child)

    def _chapters(self, names: list[str]) -> list[str]:
        """Leave out what has no document, as `genindex`."""
        return [name for name in names if name in self.env.found_docs]

    def _inlined(self, docname: str, above: int) -> nodes.document:
        """Return a document, with those that its toctrees name inside.

        ``above`` is the number of heading levels above its title, which
        the start document, whose title is the book's, takes for itself.
        Each document's references are resolved while it stands alone:
        in one tree all would count as the start document's.
        """
        tree = self.env.get_doctree(docname)
        self.env.resolve_references(tree, docname, self)
        for toctree in list(tree.findall(addnodes.toctree)):
            part = toctree.get("caption") if above < 0 else None
            level = above + 2 if part else above + 1
            files = []
            for child in self._chapters(toctree["includefiles"]):
                file = addnodes.start_of_file(
                    "",
                    *self._inlined(child, level).children,
                    docname=child,
                    above=level,
                    part=part,
                )
                part = None
                files.append(file)
            toctree.parent.replace(toctree, files)
        return tree

    def finish(self) -> None:
        """Compile what has been written."""
        for document in self.config.typst_documents:
            self._compile(document["targetname"])

    def _compile(self, name: str) -> None:
        import typst  # here, since only a PDF needs it

        folder = Path(self.outdir, name)
        source = folder / f"{name}.typ"
        place = Path(
            self.outdir, self.config.typst_pdf_folder
        ).resolve()
        place.mkdir(parents=True, exist_ok=True)
        pdf = place / f"{name}.pdf"
        pdf.unlink(missing_ok=True)
        for picture in ("weave.svg", "strands.svg"):
            shutil.copy(STATIC / picture, folder)
        try:
            _, warnings = typst.compile_with_warnings(
                str(source),
                output=str(pdf),
                root=str(folder),
                font_paths=[write_fonts(folder / "fonts")],
                ignore_system_fonts=True,
                pdf_standards="ua-1",
            )
        except typst.TypstError as error:
            logger.error("%s", _explain(error, source))
            # not an exception that Sphinx would wrap in pages of context
            raise SystemExit(2) from None
        for warning in warnings:
            logger.warning("%s", _explain(warning, source))
        logger.info("The PDF is %s.", pdf)


def write_fonts(folder: Path) -> Path:
    """Write the book's fonts as Typst can read them; return the folder."""
    from fontTools.ttLib import (
        TTFont,
    )  # here, since only a PDF needs it

    folder.mkdir(exist_ok=True)
    for packed in FONTS.glob("*.woff2"):
        font = TTFont(packed, recalcTimestamp=False)
        font.flavor = None
        font.save(folder / packed.with_suffix(".ttf").name)
    return folder


def _explain(
    problem: typst.TypstError | typst.TypstWarning, source: Path
) -> str:
    """Say in one line what Typst found, and in which document."""
    places = re.findall(r"([^/\s]+\.typ):(\d+)", problem.diagnostic)
    place = ":".join(places[0]) if places else source.name
    lines = source.read_text("utf-8").splitlines()
    for file, number in places:
        before = lines[: int(number)] if file == source.name else []
        for line in before:
            if line.lstrip().startswith(_MARK):
                place = line.partition(_MARK)[2]
    return "; ".join([f"{place}: {problem.message}", *problem.hints])


class BookTranslator(TypstTranslator):
    """Writes calls of the functions that ``book.typ`` defines."""

    def unknown_visit(self, node: Element) -> None:
        """Warn of a node that is left out."""
        logger.warning(
            "the PDF has no form for the node %s",
            type(node).__name__,
            location=node,
        )
        raise nodes.SkipNode

    def _write(self, text: str) -> None:
        self.curr_element().body.append(text)

    def _write_labels(self) -> None:
        """Write labels that wait for a next node, where there is none."""
        for label in self.pending_labels:
            self._write(f"#mlabel({escape_str(label)})")
        self.pending_labels = []

    def _call(self, node: Element, name: str, *given: str) -> None:
        """Write a call without a body, and nothing of the node's own."""
        self.append_inline_fun(
            node, name=name, positional_params=list(given)
        )
        self.absorb_fun_in_body()
        raise nodes.SkipNode

    # Documents and headings ------------------------------------------

    def visit_document(self, node: Element) -> None:
        """Begin the start document, of which the title is the book's."""
        super().visit_document(node)
        self.above, self.contents_written = [-1], False
        self.called: set[str] = set()
        self._write(f"\n{_MARK}{node['docname']}\n")

    def depart_document(self, node: Element) -> None:
        """End the book with its index."""
        self._write_labels()
        letters = IndexEntries(self.builder.env).create_index(
            self.builder
        )
        entries = "".join(
            f"({escape_str(letter)}, ({_index_entries(entries)})),"
            for letter, entries in letters
        )
        self.append_block_fun(
            None, name="book-index", positional_params=[f"({entries})"]
        )
        self.absorb_fun_in_body()
        super().depart_document(node)

    def visit_start_of_file(self, node: Element) -> None:
        """Begin a document on a page of its own, perhaps with its part."""
        self._write_labels()
        super().visit_start_of_file(node)
        self.above.append(node["above"])
        self._write(f"\n{_MARK}{node['docname']}\n")
        if not self.contents_written:
            self.contents_written = True
            self._write("#contents()\n")
        if node["part"]:
            self._write(f"#part({escape_str(node['part'])})\n")
        # before the title's labels, which else would stay behind
        self._write("#pagebreak(weak: true)\n")

    def depart_start_of_file(self, node: Element) -> None:
        """Return to the document around it."""
        self._write_labels()
        self.above.pop()
        super().depart_start_of_file(node)

    def visit_section(self, node: Element) -> None:
        """Keep the labels for the title."""
        self.add_pending_labels(node["ids"])

    def depart_section(self, _node: Element) -> None:
        """Do nothing: titles count their sections themselves."""

    def visit_title(self, node: Element) -> None:
        """Write a heading of the right level, with Sphinx's number."""
        if not isinstance(node.parent, nodes.section):
            super().visit_title(node)
            return
        depth, around = 1, node.parent.parent
        while isinstance(around, nodes.section):
            depth, around = depth + 1, around.parent
        level = self.above[-1] + depth
        if level == 0:
            raise nodes.SkipNode
        anchor = "#" + node.parent["ids"][0] if depth > 1 else ""
        numbers = self.builder.env.toc_secnumbers
        number = numbers.get(self.curr_files[-1], {}).get(anchor, ())
        self.append_block_fun(
            node,
            name="section" if depth > 1 else "chapter",
            named_params={
                "level": str(level),
                "number": escape_str(".".join(map(str, number))),
            },
        )

    # What has a number and a caption ---------------------------------

    def _number(self, node: Element, kind: str) -> dict[str, str]:
        """Say of a call what is numbered, and its number as in HTML."""
        known = self.builder.env.toc_fignumbers
        numbers = known.get(self.curr_files[-1], {}).get(kind, {})
        found = [numbers[i] for i in node["ids"] if i in numbers]
        form = self.config.numfig_format[kind] if found else ""
        number = form and form % ".".join(map(str, found[0]))
        return {"kind": escape_str(kind), "number": escape_str(number)}

    def visit_figure(self, node: Element) -> None:
        """Begin a figure."""
        named = self._number(node, "figure")
        self.append_block_fun(
            node, name="captioned", named_params=named
        )
        # A link leads to the figure, wherever on the pages it stands.
        figure = self.curr_element()
        self.pending_labels, figure.labels = figure.labels, []
        self._write_labels()

    def visit_container(self, node: Element) -> None:
        """Begin a listing; other containers leave no trace."""
        if "literal-block-wrapper" not in node["classes"]:
            self.add_pending_labels(node["ids"])
            return
        named = self._number(node, "code-block")
        self.append_block_fun(
            node, name="captioned", named_params=named
        )

    def visit_table(self, node: Element) -> None:
        """Begin a table."""
        super().visit_table(node)
        self.curr_element().name = "captioned"
        self.curr_element().named_params |= self._number(node, "table")

    def visit_caption(self, node: Element) -> None:
        """Begin a caption; set the paths that it links to apart from it."""
        super().visit_caption(node)
        links = [n for n in node if isinstance(n, source_link)]
        for link in links:
            before = node.children[node.index(link) - 1]
            if before.astext().strip() == "·":
                node.remove(before)
            node.remove(link)
        paths = "   ".join(f"{link['page']}.py" for link in links)
        self.curr_elements[-2].named_params["sources"] = escape_str(
            paths
        )

    # Code and pictures -----------------------------------------------

    def visit_literal_block(self, node: Element) -> None:
        """Write code, or what code printed, with all that HTML shows."""
        classes = {*node["classes"], *node.parent.get("classes", ())}
        kind = next(
            (k for c, k in _KINDS.items() if c in classes), "code"
        )
        language = node.get("language", "none")
        options = node.get("highlight_args", {})
        first = (
            options.get("linenostart", 1) if node.get("linenos") else 0
        )
        marked = "".join(f"{n}," for n in options.get("hl_lines", ()))
        output = kind == "input" and node.parent.next_node(
            nodes.container, descend=False, siblings=True
        )
        prints = output and isinstance(output[0], nodes.literal_block)
        self.append_block_fun(
            node,
            name="code",
            named_params={
                "kind": escape_str(kind),
                "lang": escape_str(_LANGUAGES.get(language, language)),
                "first": str(first),
                "marked": f"({marked})",
                "prints": "true" if prints else "false",
            },
            positional_params=[
                escape_raw_str(node.astext().rstrip("\n"))
            ],
        )
        self.absorb_fun_in_body()
        raise nodes.SkipNode

    def visit_literal(self, node: Element) -> None:
        """Write code within a sentence."""
        self._call(node, "literal", escape_str(node.astext()))

    def visit_image(self, node: Element) -> None:
        """Write a picture with its alternative text, or warn of none."""
        super().visit_image(node)
        self.curr_element().name = "picture"
        alt = node.get("alt")
        if alt:
            self.curr_element().named_params["alt"] = escape_str(alt)
        else:
            message = "%s has no alternative text"
            logger.warning(message, node["uri"], location=node)

    # Lists, notes, references ----------------------------------------

    def visit_reference(self, node: Element) -> None:
        """Begin a link, of the kind that its target asks for."""
        super().visit_reference(node)
        inner = node.next_node(nodes.inline)
        for name in inner["classes"] if inner else ():
            link = _LINKS.get(name, self.curr_element().name)
            self.curr_element().name = link

    def visit_enumerated_list(self, node: Element) -> None:
        """Begin a list with the number that it begins with."""
        super().visit_enumerated_list(node)
        start = str(node.get("start", 1))
        self.curr_element().named_params["start"] = start

    def visit_definition_list_item(self, node: Element) -> None:
        """Join the terms of one definition, for Typst knows but one."""
        first, *more = (n for n in node if isinstance(n, nodes.term))
        for term in more:
            first["ids"] += term["ids"]
            first.extend([nodes.Text(", "), *term.children])
            node.remove(term)
        super().visit_definition_list_item(node)

    def visit_paragraph(self, node: Element) -> None:
        """Begin a paragraph; a definition's first runs on from its term.

        One that a table follows is often its only caption.
        """
        parent = node.parent
        after = node.next_node(descend=False, siblings=True)
        if isinstance(parent, nodes.definition) and parent[0] is node:
            self.append_unprocessed(node)
        elif isinstance(after, nodes.table):
            self.append_block_fun(node, name="lead")
        else:
            super().visit_paragraph(node)

    def visit_footnote_reference(self, node: Element) -> None:
        """Write the note where the text calls it; Typst places it."""
        label = f"label({escape_str(self.label_ref(node['refid']))})"
        if label in self.called:
            self._call(node, "footnote", label)
        self.called.add(label)
        note = next(
            note
            for note in self.document.findall(nodes.footnote)
            if note["docname"] == node["docname"]
            and node["refid"] in note["ids"]
        )
        self.append_inline_fun(node, name="footnote")
        for child in note.children[1:]:  # the first is the number
            child.walkabout(self)
        self.absorb_fun_in_body()
        self._write(f"#{label}")
        raise nodes.SkipNode

    def visit_footnote(self, _node: Element) -> None:
        """Leave out what `visit_footnote_reference` has written."""
        raise nodes.SkipNode

    def visit_transition(self, node: Element) -> None:
        """Write a rule, but none above footnotes: they are elsewhere."""
        if "footnotes" in node["classes"]:
            raise nodes.SkipNode
        super().visit_transition(node)

    def visit_source_note(self, node: Element) -> None:
        """Begin what the source chapter said, beside its correction."""
        self.append_block_fun(node, name="source-note")

    def depart_source_note(self, _node: Element) -> None:
        """End it."""
        self.absorb_fun_in_body()

    def visit_index(self, _node: Element) -> None:
        """Leave out an entry: `depart_document` writes all of them."""
        raise nodes.SkipNode


for _name in _WITHOUT_FORM:
    setattr(
        BookTranslator, f"visit_{_name}", BookTranslator.unknown_visit
    )


def _index_entries(entries: Any) -> str:
    """Return entries as Typst's arrays: (text, labels, entries below)."""
    return "".join(
        f"({escape_str(text)},"
        f" ({''.join(f'{escape_str(uri)},' for _, uri in links if uri)}),"
        f" ({_index_entries((t, (ls, [], None)) for t, ls in below)})),"
        for text, (links, below, _) in entries
    )


def _settings(app: Sphinx, config: Config) -> None:
    """Give each document what its cover says of its making."""
    del app
    name = platform.python_implementation()
    seconds = os.environ.get("SOURCE_DATE_EPOCH", time.time())
    day = datetime.fromtimestamp(int(seconds), UTC)
    about = {
        "interpreter": f"{name} {platform.python_version()}",
        "sphinx": sphinx_version,
        "copyright": config.project_copyright,
        "description": config.epub_description,
        "made": f"{day.day} {day:%B %Y}",
        "day": {"year": day.year, "month": day.month, "day": day.day},
    }
    for document in config.typst_documents:
        document.setdefault("metadata", {}).update(about)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinxcontrib_typstbuilder")
    app.add_builder(BookBuilder, override=True)
    app.set_translator("typst", BookTranslator, override=True)
    app.add_config_value("typst_pdf_folder", "../pdf", "", str)
    app.connect("config-inited", _settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
