"""Whole web pages, each one file that needs nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

_STYLE = """\
:root { color-scheme: light dark; }
body {
  margin: 0;
  background: light-dark(#fff, #14181e);
  color: light-dark(#222832, #ced6dd);
  font: 1rem/1.6 system-ui, sans-serif;
}
main { max-width: 60rem; margin: auto; padding: 1rem; }
h1 { margin: 1rem 0; font-size: 1.75rem; line-height: 1.25; }
p, li { max-width: 70ch; overflow-wrap: break-word; }
a { color: light-dark(#0b5b8a, #6cb8e6); }
:focus-visible { outline: 3px solid; outline-offset: 2px; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; }
svg, img { max-width: 100%; height: auto; }
table { border-collapse: collapse; }
th, td {
  padding: 0.25rem 0.75rem;
  border-bottom: 1px solid light-dark(#d1d5da, #48566b);
  text-align: left;
  vertical-align: top;
}
"""


def webpage(
    title: str,
    *parts: str,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """Return an HTML document: the title as its heading, then the parts.

    ``title`` is plain text. ``parts`` are HTML, which stands as it is.
    ``styles`` are style sheets, which follow the page's own, and
    ``scripts`` are scripts, which run when the parts are there; all of
    them stand in the page itself. The colours follow the reader's
    system, light or dark.

    Raises ValueError where a sheet or a script holds the tag that ends
    it, for the rest of it would be read as HTML.
    """
    for tag, texts in (("style", styles), ("script", scripts)):
        if re.search(f"</{tag}", "".join(texts), re.IGNORECASE):
            raise ValueError(
                f"a {tag} of the page {title!r} holds '</{tag}', which "
                f"ends it: write '<\\/{tag}'"
            )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title>",
            *(f"<style>\n{s}</style>" for s in (_STYLE, *styles)),
            "</head>",
            "<body>",
            "<main>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</main>",
            *(f"<script>\n{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )
