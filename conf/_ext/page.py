"""What the HTML pages need that no setting of Sphinx or the theme gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

from docutils import nodes
from jinja2 import FileSystemBytecodeCache
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from findings import Findings
from listing import listed_files, page_of

#: How many characters of a page's description others show.
DESCRIPTION = 200

#: What each document claims, in a sentence.
_claims = Findings[str]("claims")

#: A glyph of matplotlib's font, which every figure of a page may share.
_GLYPH = re.compile(r'<path id="(DejaVu[\w-]+)"[^>]*/>')
#: The style of all that a figure of matplotlib holds.
_STYLE_OF_ALL = re.compile(r"<style[^>]*>\s*\*\{([^}]*)\}\s*</style>")
#: The properties of SVG that an attribute can give as well.
_ATTRIBUTES = re.compile(r"(?:fill|stroke)(?:-[a-z]+)?|opacity")


def _unstyled(svg: str) -> str:
    """Return an SVG element that no policy against inline styles spoils.

    A style becomes attributes, save for what no attribute can say.
    """

    def attributes(style: re.Match[str]) -> str:
        pairs = (part.split(":", 1) for part in style[1].split(";"))
        said = {name.strip(): value.strip() for name, value in pairs}
        if not all(map(_ATTRIBUTES.fullmatch, said)):
            return style[0]
        return "".join(f' {n}="{value}"' for n, value in said.items())

    if of_all := _STYLE_OF_ALL.search(svg):
        svg = _STYLE_OF_ALL.sub("", svg)
        svg = svg.replace("<svg ", f'<svg style="{of_all[1]}" ', 1)
    return re.sub(r' style="([^"]*?);?\s*"', attributes, svg)


def themed(svg: str, prefix: str, alt: str, drawn: set[str]) -> str:
    """Return an SVG document as an element of a page.

    What was black takes the colour of the page's text, light or dark.
    Identifiers get ``prefix``, since two figures may share theirs; only
    glyphs keep them, and those of the page that are already ``drawn``
    are not drawn again. Numbers keep a hundredth of a point, which is
    finer than any screen.
    """

    def once(glyph: re.Match[str]) -> str:
        known = glyph[1] in drawn
        drawn.add(glyph[1])
        return "" if known else glyph[0]

    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S
    )
    svg = _unstyled(svg).replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(
        r' id="([^"]+)"', lambda i: i[0] if i[1] in used else "", svg
    )
    svg = re.sub(r'\b(id="|href="#)(?!DejaVu)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"(url\(#)", rf"\g<1>{prefix}-", svg)
    svg = _GLYPH.sub(once, svg)
    svg = re.sub(
        # a factor keeps its digits: it stretches what it multiplies
        r"scale\([^)]*\)|(\.\d\d)\d+",
        lambda n: n[1] or n[0],
        svg,
    )
    svg = re.sub(r">\s+<", "><", svg).replace("<defs></defs>", "")
    svg = re.sub(r"#000000\b|\bblack\b", "currentColor", svg)
    return svg.replace(
        "<svg ",
        f'<svg role="img" aria-label="{escape(alt)}" '
        'class="drawn" fill="currentColor" ',
        1,
    )


class InlineFigures(SphinxPostTransform):
    """Put each SVG that a cell drew into the page itself.

    An SVG that is loaded as an image cannot follow the page's colours.
    """

    default_priority = 900
    formats = ("html",)

    def run(self, **_: object) -> None:
        """Replace the images of this page."""
        images = list(self.document.findall(nodes.image))
        drawn: set[str] = set()
        for number, image in enumerate(images, start=1):
            file = Path(self.app.srcdir, image["uri"])
            if file.suffix == ".svg" and file.is_file():
                svg = themed(
                    file.read_text("utf-8"),
                    f"drawn-{number}",
                    image.get("alt", ""),
                    drawn,
                )
                image.replace_self(
                    nodes.raw(
                        "",
                        '<div class="drawn-scroll '
                        f'pst-scrollable-table-container">{svg}</div>',
                        format="html",
                    )
                )


#: Roles and classes as docutils writes them, and as readers need them.
_MENDED = (
    (
        'class="caption" role="heading"',
        'class="caption" role="heading" aria-level="2"',
    ),
    (' role="doc-biblioentry"', ' role="listitem"'),
    # the theme's script makes these a stop for the keyboard where they scroll
    (
        '<table class="docutils align-default"',
        '<table class="docutils align-default '
        'pst-scrollable-table-container"',
    ),
)


def mend(
    _app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    _doctree: nodes.document | None,
) -> None:
    """Mend roles that lack a level, or that no reader's helper knows."""
    if "body" in context:
        for wrong, right in _MENDED:
            context["body"] = context["body"].replace(wrong, right)
        if not context.get("display_toc"):
            # the theme's script hides a table of contents behind notes in
            # the margin, and breaks where there is none
            context["body"] = context["body"].replace(
                'class="source-note margin"', 'class="source-note"'
            )


def note_claim(app: Sphinx, document: nodes.document) -> None:
    """Keep the sentence in italics under the title of a document."""
    title = document.next_node(nodes.title)
    after = title and title.next_node(nodes.paragraph, ascend=True)
    if (
        after
        and isinstance(after[0], nodes.emphasis)
        and len(after) == 1
    ):
        name = app.env.current_document.docname
        _claims(app.env)[name] = after.astext()


def add_claims(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    _doctree: nodes.document | None,
) -> None:
    """Say under each chapter's name on the first page what it claims."""
    if page != app.config.root_doc or app.builder.name != "html":
        return
    claims = _claims(app.env)

    def add(link: re.Match[str]) -> str:
        claim = escape(claims.get(link[1], ""))
        return f'{link[0]}<span class="claim">{claim}</span>'

    context["body"] = re.sub(
        r'(?<=<li class="toctree-l1">)<a [^>]*href="([^"]+)\.html">.*?</a>',
        add,
        context["body"],
    )


def keep_templates(app: Sphinx) -> None:
    """Keep the templates compiled: each build would compile all anew."""
    if app.builder.name == "html":
        folder = Path(app.doctreedir, "templates")
        folder.mkdir(exist_ok=True)
        app.builder.templates.environment.bytecode_cache = (
            FileSystemBytecodeCache(str(folder))
        )


def describe(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Tell search engines what the page claims, or how it begins."""
    if doctree is None or app.builder.name != "html":
        return
    first = doctree.next_node(lambda n: type(n) is nodes.paragraph)
    words = _claims(app.env).get(page) or (
        first.astext() if first else ""
    )
    if words:
        words = shorten(words, DESCRIPTION, placeholder=" …")
        context["metatags"] += (
            f'\n<meta name="description" content="{escape(words)}" />'
        )


def _expected(app: Sphinx) -> Iterator[str]:
    yield from app.env.found_docs
    yield from map(page_of, listed_files(app.env))
    yield from ("404", "genindex", "search")


def remove_strangers(app: Sphinx, exception: Exception | None) -> None:
    """Delete pages that this book does not have: another branch's."""
    if exception or app.builder.name != "html":
        return
    known = {f"{name}.html" for name in _expected(app)}
    for page in Path(app.outdir).rglob("*.html"):
        name = page.relative_to(app.outdir).as_posix()
        if name not in known and not name.startswith("_static/"):
            page.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("book_machinery", "", "env", str)
    _claims.keep(app)
    app.add_post_transform(InlineFigures)
    app.connect("builder-inited", keep_templates)
    app.connect("doctree-read", note_claim)
    app.connect("html-page-context", add_claims)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", mend)
    app.connect("build-finished", remove_strangers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
