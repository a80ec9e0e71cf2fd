"""Sphinx's settings: ``sphinx-build -c conf book build/html``."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

CONF = Path(__file__).resolve().parent
ROOT = CONF.parent
sys.path.insert(0, str(CONF / "_ext"))

from sphinx.errors import ConfigError  # noqa: E402

from listing import module_file  # noqa: E402

try:
    module_file("multithreading")
except ValueError as problem:
    raise ConfigError(str(problem)) from None

project = "Multithreading in Python"
author = "The authors of Multithreading in Python"
version = installed("multithreading")
project_copyright = f"2026, {author}"
language = "en"
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "epub",
    "execution",
    "listing",
    "page",
    "pdf",
    "scheduler",
]
nitpicky = True
numfig = True
numfig_format = {"code-block": "Listing %s"}

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

# `execution` runs the cells; MyST-NB receives them with their outputs.
nb_custom_formats = {".md": ["execution.read_notebook", {}, False]}
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [
    ("typst", "image/svg+xml", 10),
    ("typst", "text/markdown", 20),
    ("typst", "text/plain", 30),
    # HTML may need a script; the reader of an EPUB may run none.
    ("epub", "text/markdown", 25),
]
book_outputs = str(ROOT / "build" / "outputs")

bibtex_bibfiles = [str(ROOT / "book" / "refs.bib")]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_persistent": [],  # else a second search box, in an empty bar
    "navigation_with_keys": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}
copybutton_exclude = ".linenos, .gp, .go"

# The EPUB: `epub` makes it, `epub/` says and designs what is in it.
epub_basename = "multithreading-in-python"
epub_title = project
epub_subtitle = "The book that runs"
epub_identifier = "urn:uuid:40230c00-c18f-49af-8c91-0816fe947c5d"
epub_description = (
    "A book on threads, processes and the GIL, in which nothing is "
    "pasted: each listing is a piece of a tested package, and each "
    "output was printed by the build that made the book."
)
epub_show_urls = "no"  # a link is enough

# The PDF: `pdf` makes it, `pdf/book.typ` designs it.
typst_documents = [
    {
        "startdocname": "index",
        "targetname": "multithreading-in-python",
        "title": project,
        "metadata": {"subtitle": "The book that runs"},
    }
]
typst_template = "book"
typst_templates_path = [str(CONF / "pdf")]
