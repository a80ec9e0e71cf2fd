"""One style sheet, one script and three small fonts for all pages.

The theme and the extensions bring a dozen files, most of whose rules no
page of this book can match. When all pages are written, their style
sheets are joined in the order in which a page would load them, without
the rules for classes that neither a page nor a script names; their
scripts are joined as they are; and the fonts keep the characters that
the pages show.

``layout.html`` loads the results: ``head.js``, ``page.css``, ``page.js``.
What they are made of seldom changes, and the next build takes them over.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.metadata import version
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from memory import Memory

logger = logging.getLogger(__name__)

FONTS = Path(__file__).resolve().parents[1] / "fonts"
ICONS = (
    "vendor/fontawesome/webfonts/fa-solid-900.woff2",
    "vendor/fontawesome/webfonts/fa-brands-400.woff2",
)

#: The files of the typeface, each with its style and its weight.
_FACES = (
    ("literata-regular.woff2", "normal", "400"),
    ("literata-italic.woff2", "italic", "400"),
    ("literata-semibold.woff2", "normal", "600"),
)

#: What the theme's own template would load before all other styles.
_THEME_STYLES = ("basic.css", "styles/pydata-sphinx-theme.css")
_THEME_SCRIPT = "scripts/pydata-sphinx-theme.js"

#: Replaced by ``book.css``, which colours code in the page's palette.
_LEFT_OUT = {"pygments.css", "basic.css"}

#: What the theme copies and no page of this book loads.
_UNUSED = (
    "scripts/bootstrap.js*",
    "scripts/fontawesome.js*",
    "scripts/*.map",
    "styles/*.map",
    "vendor/fontawesome/webfonts/fa-regular*",
    "webpack-macros.html",
    "sbt-webpack-macros.html",
)

_WORD = re.compile(r"[A-Za-z_][\w-]*")
#: A custom property's declaration; its value may hold strings and urls.
_PROPERTY = re.compile(
    r"(?<=[{;])\s*(--[\w-]+)\s*:"
    r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^;{}"'])*(?:;|(?=}))"""
)
_CLASSES = re.compile(r'\bclass="([^"]*)"')


def note_files(
    app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    _doctree: nodes.document | None,
) -> None:
    """Keep the names of the files that every page would load."""
    app.book_styles = [
        *_THEME_STYLES,
        *_names(context["css_files"], _LEFT_OUT),
    ]
    app.book_scripts = [
        *_names(context["script_files"], set()),
        _THEME_SCRIPT,
    ]


def _names(files: Iterable[Any], left_out: set[str]) -> list[str]:
    names = (str(file.filename) for file in files if file.filename)
    local = (n.removeprefix("_static/") for n in names if ":" not in n)
    return [n for n in local if n.partition("?")[0] not in left_out]


def seen(page: str) -> tuple[set[str], set[str]]:
    """Return the classes that a page has, and the characters it shows."""
    classes = {
        name
        for classes in _CLASSES.findall(page)
        for name in classes.split()
    }
    return classes, set(page)


def words(scripts: str) -> set[str]:
    """Return every word of the scripts: classes that they may give."""
    return set(_WORD.findall(scripts))


def cut(css: str, known: set[str]) -> str:
    """Return a style sheet without comments and rules that match nothing.

    A rule goes where each of its selectors names, outside of functions
    such as ``:not()``, a class that is not ``known``.
    """
    import tinycss2

    rules = tinycss2.parse_stylesheet(
        css, skip_comments=True, skip_whitespace=True
    )
    return "".join(_kept(rules, known))


def _kept(rules: list[Any], known: set[str]) -> Iterator[str]:
    import tinycss2

    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [
                selector
                for selector in _selectors(rule.prelude)
                if _named_classes(selector) <= known
            ]
            body = tinycss2.serialize(rule.content).strip()
            if selectors and body:
                heads = (tinycss2.serialize(s) for s in selectors)
                yield f"{','.join(h.strip() for h in heads)}{{{body}}}"
        elif rule.type == "at-rule":
            head = (
                f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}"
            )
            if rule.content is None:
                yield f"{head};"
            elif rule.lower_at_keyword in {
                "media",
                "supports",
                "layer",
            }:
                inner = tinycss2.parse_rule_list(
                    rule.content,
                    skip_comments=True,
                    skip_whitespace=True,
                )
                if kept := "".join(_kept(inner, known)):
                    yield f"{head.strip()}{{{kept}}}"
            else:
                yield f"{head}{{{tinycss2.serialize(rule.content)}}}"


def without_unused_properties(css: str) -> str:
    """Drop custom properties that no rule needs.

    One that only such a property reads is not needed either.
    """
    read = set(re.findall(r"var\(\s*(--[\w-]+)", css))
    shorter = _PROPERTY.sub(
        lambda found: found[0] if found[1] in read else "", css
    )
    return css if shorter == css else without_unused_properties(shorter)


def _selectors(prelude: list[Any]) -> Iterator[list[Any]]:
    selector: list[Any] = []
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            yield selector
            selector = []
        elif token.type != "comment":
            selector.append(token)
    yield selector


def _named_classes(selector: list[Any]) -> set[str]:
    return {
        name.value
        for dot, name in pairwise(selector)
        if dot.type == "literal"
        and dot.value == "."
        and name.type == "ident"
    }


def page_style(known: str, *sheets: str) -> str:
    """Return the style sheets as one, cut to the classes ``known``."""
    classes = set(known.split())
    css = "".join(cut(sheet, classes) for sheet in sheets)
    # `page.css` lies in `_static`; a style sheet below it names files
    # from its own folder
    css = css.replace("url(../", "url(")
    return without_unused_properties(css)


def _write_fonts(static: Path, characters: str, memory: Memory) -> None:
    """Write the fonts with these characters alone.

    They come twice: as files, for a page without scripts, and within
    ``head.js``, which gives them to the browser before it sets a line.
    A font that came later would move lines under the reader's eyes.
    """
    faces, rules = [], []
    (static / "fonts").mkdir(exist_ok=True)
    for name, style, weight in _FACES:
        whole = (FONTS / name).read_bytes()
        font = memory.made(shrink, whole, characters)
        (static / "fonts" / name).write_bytes(font)
        about = {"style": style, "weight": weight}
        faces.append([about, base64.b64encode(font).decode()])
        rules.append(
            f'@font-face{{font-family:"Literata";font-style:{style};'
            f"font-weight:{weight};src:url(fonts/{name})}}"
        )
    (static / "fonts.css").write_text("".join(rules), "utf-8")
    head = static / "head.js"
    text = head.read_text("utf-8").replace(
        "[/* fonts */]", json.dumps(faces)
    )
    head.write_text(text, "utf-8")


def shrink(font: bytes, characters: str) -> bytes:
    """Return a font with these characters alone, as WOFF2."""
    # here, since fontTools takes long to load and is seldom needed
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(
        flavor="woff2",
        hinting=False,
        layout_features=["kern", "liga"],
        name_IDs=[],
        notdef_outline=True,
        recalc_timestamp=False,
    )
    opened = TTFont(BytesIO(font), recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=map(ord, characters))
    subsetter.subset(opened)
    opened.flavor = "woff2"
    buffer = BytesIO()
    opened.save(buffer)
    return buffer.getvalue()


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the style sheet, the script and the fonts of all pages."""
    written = hasattr(app, "book_styles")
    if exception or app.builder.name != "html" or not written:
        return
    out = Path(app.outdir)
    static = out / "_static"
    for pattern in _UNUSED:
        for path in static.glob(pattern):
            path.unlink()
    memory = Memory(
        Path(app.doctreedir, "assets.pickle"),
        f"{app.config.book_machinery} {version('fonttools')} "
        f"{version('tinycss2')}",
    )
    read = partial(Path.read_text, encoding="utf-8")
    known: set[str] = set()
    shown: set[str] = set()
    for page in out.rglob("*.html"):
        if static not in page.parents:
            classes, characters = memory.made(seen, read(page))
            known |= classes
            shown |= characters
    scripts = (
        static / name.partition("?")[0] for name in app.book_scripts
    )
    (static / "page.js").write_text(
        ";\n".join(read(script) for script in scripts), "utf-8"
    )
    # all but the words of the book, which name no class
    others = set(static.rglob("*.js")) - {static / "search-data.js"}
    known |= memory.made(words, "\n".join(map(read, sorted(others))))
    styles = (
        static / name.partition("?")[0] for name in app.book_styles
    )
    css = memory.made(
        page_style, " ".join(sorted(known)), *map(read, styles)
    )
    _write_fonts(static, "".join(sorted(shown)), memory)
    (static / "page.css").write_text(css, "utf-8")
    icons = {sign for sign in css if "\ue000" <= sign <= "\uf8ff"}
    for name in ICONS:
        whole = (static / name).read_bytes()
        shrunk = memory.made(shrink, whole, "".join(sorted(icons)))
        (static / name).write_bytes(shrunk)
    memory.save()
    logger.info("style sheet: %d bytes", len(css))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    # late, so that every extension has added its files
    app.connect("html-page-context", note_files, priority=900)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
