"""Sphinx's settings: ``sphinx-build -c conf book build/html``."""

from __future__ import annotations

import gc
import os
import platform
import sys
from importlib.metadata import version as installed
from pathlib import Path
from urllib.parse import urlsplit

# A build makes many objects and throws few away. At its usual pace the
# search for cycles among them takes a sixth of the time.
gc.set_threshold(50_000)

CONF = Path(__file__).resolve().parent
ROOT = CONF.parent
sys.path[:0] = [str(CONF / "_ext"), str(CONF / "_engine")]

import starting  # noqa: E402

if (
    sys.platform == "linux"
    and not (ROOT / "build" / "outputs").exists()
):
    starting.begin()  # every chapter will run

from sphinx.errors import ConfigError  # noqa: E402

from fingerprint import machinery_digest  # noqa: E402
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
    "execution",  # first: the cells run while the others are loaded
    "myst_nb",
    "notfound.extension",
    "sphinx.ext.intersphinx",
    "sphinx_codeautolink",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "assets",
    "code_links",
    "downloads",
    "epub",
    "listing",
    "navigation",
    "page",
    "pdf",
    "scheduler",
    "search",
    "source_notes",
    "terms",
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
# A page depends on what makes it, as on its text.
book_machinery = machinery_digest(CONF)

# Names in code lead to Python's documentation; its inventory is kept here,
# so that a build asks nobody.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(CONF / "python.inv"))
}
intersphinx_disabled_reftypes = ["std:*"]  # a term or a label is ours
codeautolink_autodoc_inject = False
codeautolink_concat_default = True  # a cell knows the cells before it
codeautolink_disable_link_titles = True
suppress_warnings = [
    # A fragment that is no program has no links, and is no fault;
    "codeautolink.parse_block",
    # nor is code in the form of an output that this page does not show.
    "codeautolink.match_block",
    # Two statements on one line are more than it tells apart.
    "codeautolink.match_name",
]

bibtex_bibfiles = [str(ROOT / "book" / "refs.bib")]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# Where this copy of the book is served, and the repository that it can be
# edited in. Both may be unknown: a copy on a disk needs neither.
html_baseurl = os.environ.get("BOOK_URL", "")
repository = os.environ.get("BOOK_REPOSITORY", "")
prefix = urlsplit(html_baseurl).path or "/"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
templates_path = ["_templates", "_templates/components"]
html_css_files = [
    "book.css",
    "code-links.css",
    "search.css",
    "terms.css",
]
html_js_files = ["modes.js", "search.js", "terms.js"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    "**": [
        "book-title.html",
        "search-button-field.html",
        "sbt-sidebar-nav.html",
    ]
}
html_theme_options = {
    "article_footer_items": ["page-foot.html"],
    "footer_content_items": ["copyright.html"],
    "home_page_in_toc": False,
    "navbar_persistent": [],  # else a second search box, in an empty bar
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {
    "default_mode": "light",  # where no script may run
    "interpreter": f"{platform.python_implementation()} "
    f"{platform.python_version()}",
}
if repository:
    html_theme_options |= {
        "path_to_docs": "book",
        "repository_url": repository,
        "use_edit_page_button": True,
    }

# Served for an address that leads nowhere, so its own links begin at the root.
notfound_urls_prefix = prefix
notfound_template = "404.html"
notfound_context = {"title": "No such page", "content_root": prefix}

# What another site shows of a page that is linked there; a copy on a disk
# is linked nowhere.
if html_baseurl:
    extensions.append("sphinxext.opengraph")
ogp_site_url = html_baseurl
ogp_type = "book"
ogp_social_cards = {
    "image": "../conf/_static/mark.png",
    "image_mini": "../conf/_static/mark.png",
    "line_color": "#0072B2",
}
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
