"""Makes the EPUB: ``sphinx-build -b epub -c conf book build/epub``.

Sphinx's own EPUB has the pages of the web in it, with their style sheets,
no notion of the book's parts, and a manifest that a checker refuses where
a page holds an SVG. This builder takes Sphinx's pages and packs them
itself. ``conf/epub/`` holds what they look like and what the package says.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import jinja2
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.epub3 import Epub3Builder
from sphinx.highlighting import PygmentsBridge
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.osutil import relative_uri

from listing import source_link

logger = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parents[1]
LOOKS = CONF / "epub"

#: Besides the pages: the name in the package, and the file.
FILES = {
    "book.css": LOOKS / "book.css",
    "cover.xhtml": LOOKS / "cover.xhtml",
    "strands.svg": LOOKS / "strands.svg",
    **{
        f"fonts/{file.name}": file
        for file in sorted((CONF / "fonts").iterdir())
    },
}
COVER = "cover.png"

#: What the navigation calls a page that readers look for.
LANDMARKS = {
    "reference/glossary.xhtml": "glossary",
    "reference/bibliography.xhtml": "bibliography",
    "genindex.xhtml": "index",
}

#: A picture that is so many times as wide as high fills a narrow screen
#: better when it is turned.
TURNED = 1.3
_SVG = re.compile(
    r'<svg\b[^>]*\bviewBox="0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)"'
    r"[^>]*>.*</svg>",
    re.S,
)

#: A table of more columns, and wider than so many letters, is a list of
#: cells on a small screen.
COLUMNS, LETTERS = 3, 36
#: A table with a longer word breaks its words, where it has to.
WORD = 18


class Entry(NamedTuple):
    """A line of the table of contents; a part's has no page of its own."""

    title: str
    href: str
    children: list[Entry]


class Figure:
    """A wide picture, and the link to where it stands in the text."""

    def __init__(self, found: re.Match[str], back: str) -> None:
        self.width, self.height = found["width"], found["height"]
        self.back = back
        # a picture within another has its size in the other's units
        head, end, rest = found[0].partition(">")
        head = re.sub(r' (?:width|height|class)="[^"]*"', "", head)
        size = f' width="{self.width}" height="{self.height}"'
        self.svg = head + size + end + rest


class BookBuilder(Epub3Builder):
    """Writes the pages of the book, and packs them."""

    media_types: ClassVar[dict[str, str]] = {
        **Epub3Builder.media_types,
        ".txt": "text/plain",
        ".woff2": "font/woff2",
    }

    def init(self) -> None:
        """Take templates from ``conf/epub/``, never those of the web."""
        self.config.templates_path = [str(LOOKS)]
        super().init()
        self.figures: dict[str, Figure] = {}

    def get_outdated_docs(self) -> Iterator[str]:
        """Write every page: its head and its pictures hang on others."""
        yield from self.env.found_docs

    def init_highlighter(self) -> None:
        """Have each line of code wrap below its own beginning."""
        super().init_highlighter()
        self.highlighter = Hanging("html", "default")

    def prepare_writing(self, docnames: Any) -> None:
        """Learn which part each chapter is in, for its head."""
        super().prepare_writing(docnames)
        self.globalcontext["part_of"] = {
            name: part
            for part, names in self._parts()
            for name in names
            if part
        }

    def get_doc_context(
        self, docname: str, body: str, metatags: str
    ) -> dict[str, Any]:
        """Call a source an item of its list: its own role is no more."""
        body = body.replace('role="doc-biblioentry"', 'role="listitem"')
        return super().get_doc_context(docname, body, metatags)

    def gen_pages_from_extensions(self) -> None:
        """Make none: the pages of modules and tests are the web's."""

    def copy_static_files(self) -> None:
        """Copy what the pages need, and draw the cover."""
        # where MyST-NB leaves a style sheet, which no page names
        Path(self.outdir, "_static").mkdir(parents=True, exist_ok=True)
        for name, file in FILES.items():
            to = Path(self.outdir, name)
            to.parent.mkdir(exist_ok=True)
            copyfile(file, to)
        draw(CONF / "_static" / "cover.svg", Path(self.outdir, COVER))

    def handle_finish(self) -> None:
        """Write what the package says of itself, and pack it."""
        out = Path(self.outdir)
        titles = self._titles()
        pages = list(titles)
        for name in sorted(self.env.found_docs):
            if f"{name}.xhtml" not in titles:
                logger.warning(
                    "the EPUB has no place for this page: "
                    "name it in a toctree of %s",
                    self.env.doc2path(self.config.root_doc, base=False),
                    location=name,
                )
        images = sorted(set(self.images.values()))
        files = [
            *pages,
            *self.figures,
            *(f"{self.imagedir}/{name}" for name in images),
            COVER,
            *FILES,
        ]
        drawn = [p for p in pages if b"<svg" in (out / p).read_bytes()]
        moment = time.gmtime(
            int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        )
        about = {
            "config": self.config,
            "contents": list(self._contents()),
            "files": {
                file: self.media_types[Path(file).suffix]
                for file in files
            },
            "figures": list(self.figures),
            "first": pages[:2][-1],
            "landmarks": {
                file: kind
                for file, kind in LANDMARKS.items()
                if file in pages
            },
            "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
            "pages": pages,
            "properties": dict.fromkeys([*drawn, *self.figures], "svg")
            | {COVER: "cover-image"},
            "titles": titles,
        }
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(LOOKS),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        written = ["META-INF/container.xml", "content.opf", "nav.xhtml"]
        texts = {
            name: templates.get_template(Path(name).name).render(about)
            for name in written
        }
        turned = templates.get_template("figure.xhtml")
        for name, figure in self.figures.items():
            texts[name] = turned.render(about, figure=figure)
        for name, text in texts.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text, "utf-8")
        package = out / f"{self.config.epub_basename}.epub"
        pack(package, [*written, *files], moment)

    # What is in the book, in its order ---------------------------------

    def _parts(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each part's name and the names of its pages."""
        root = self.env.get_doctree(self.config.root_doc)
        for toctree in root.findall(addnodes.toctree):
            names = [name for _, name in toctree["entries"]]
            yield toctree.get("caption") or "", names

    def _titles(self) -> dict[str, str]:
        """Return the title of each page, in their order."""
        chapters = [
            name for _, names in self._parts() for name in names
        ]
        titles = {"genindex": "Index"} | {
            name: title.astext()
            for name, title in self.env.titles.items()
        }
        return {
            f"{name}.xhtml": titles[name]
            for name in [self.config.root_doc, *chapters]
        }

    def _contents(self) -> Iterator[Entry]:
        """Yield the table of contents: parts, chapters, sections."""
        titles = self._titles()

        def entry(name: str) -> Entry:
            page = f"{name}.xhtml"
            return Entry(titles[page], page, list(self._sections(name)))

        root = f"{self.config.root_doc}.xhtml"
        yield Entry(titles[root], root, [])
        for part, names in self._parts():
            chapters = [entry(name) for name in names]
            if part:
                yield Entry(part, "", chapters)
            else:
                yield from chapters

    def _sections(self, name: str) -> Iterator[Entry]:
        """Yield an entry for each section right below a page's title."""
        toc = self.env.tocs.get(name, nodes.bullet_list())
        for item in toc.children[:1]:
            for below in item.children[1:]:
                for section in below.children:
                    link = section.next_node(nodes.reference)
                    if link is not None:
                        yield Entry(
                            link.astext(),
                            f"{name}.xhtml{link['anchorname']}",
                            [],
                        )


def draw(svg: Path, png: Path) -> None:
    """Write the cover as pixels, which every shelf of books can show."""
    import typst  # here, since only an EPUB needs it

    source = (
        "#set page(width: 1200pt, height: 1600pt, margin: 0pt)\n"
        f'#image("{svg.name}", width: 100%)'
    )
    typst.compile(
        source.encode(),
        output=str(png),
        root=str(svg.parent),
        format="png",
        ppi=72.0,
    )


def pack(
    package: Path, files: list[str], moment: time.struct_time
) -> None:
    """Pack files that lie beside; the same at one moment are the same.

    The first says what the package is, and is not compressed.
    """
    with ZipFile(package, "w") as target:
        for file in ["mimetype", *files]:
            info = ZipInfo(file, moment[:6])
            info.create_system = 3  # as on Unix, wherever it is made
            info.external_attr = 0o644 << 16
            if file == "mimetype":
                target.writestr(info, "application/epub+zip")
            else:
                info.compress_type = ZIP_DEFLATED
                target.writestr(
                    info, (package.parent / file).read_bytes()
                )


class Hanging(PygmentsBridge):
    """Sets each line of code apart.

    A screen is often narrower than a line. The rest of a line then stands
    further to the right than its beginning, which only a style sheet that
    knows where a line begins, and how deep, can ask for.
    """

    def highlight_block(self, *args: Any, **options: Any) -> str:
        """Return highlighted code with an element around each line."""
        html = super().highlight_block(*args, **options)
        head, pre, rest = html.partition("<pre>")
        code, end, tail = rest.rpartition("</pre>")
        lines = code.removeprefix("<span></span>").split("\n")
        return head + pre + "\n".join(map(_line, lines)) + end + tail


def _line(html: str) -> str:
    if not html:
        return ""
    text = re.sub(r"<[^>]*>", "", html)
    depth = min((len(text) - len(text.lstrip(" "))) // 4, 6)
    return f'<span class="line in{depth}">{html}</span>'


class ForReaders(SphinxPostTransform):
    """Change what a page of the web has and a page of an EPUB cannot."""

    default_priority = 850

    def run(self, **_: object) -> None:
        """Change this page, where it is made for the EPUB."""
        if self.app.builder.name != "epub":
            return
        for admonition in self.document.findall(nodes.admonition):
            # many readers cannot open what is folded
            admonition.attributes.pop("collapsible", None)
        for caption in self.document.findall(nodes.caption):
            _name_sources(caption)
        for table in self.document.findall(nodes.tgroup):
            if table["cols"] > COLUMNS:
                _label_cells(table)
            if max(map(len, table.astext().split()), default=0) > WORD:
                table.parent["classes"].append("long-words")


class Turned(SphinxPostTransform):
    """Lead from a wide picture to one that fills a narrow screen.

    In the text it is as narrow as the screen, and its letters are small;
    turned, on a page of its own, it is about twice as large.
    """

    default_priority = 950  # after the pictures have come into the page

    def run(self, **_: object) -> None:
        """Link the pictures of this page, where it is for the EPUB."""
        builder = self.app.builder
        if not isinstance(builder, BookBuilder):
            return
        name = self.env.docname
        pictures = [
            (raw, found)
            for raw in self.document.findall(nodes.raw)
            if (found := _SVG.search(raw.astext()))
            and float(found["width"]) >= TURNED * float(found["height"])
        ]
        for number, (raw, found) in enumerate(pictures, start=1):
            page = f"{name}.xhtml"
            other = f"figures/{name.replace('/', '-')}-{number}.xhtml"
            back = f"{page}#larger-{number}"
            builder.figures[other] = Figure(found, back)
            link = (
                f'<a class="larger" id="larger-{number}" '
                f'href="{relative_uri(page, other)}">{found[0]}</a>'
            )
            text = raw.astext().replace(found[0], link)
            raw.replace_self(nodes.raw("", text, format="html"))


def _name_sources(caption: nodes.caption) -> None:
    """Say where a listing's files are, in place of links to their pages."""
    links = [n for n in caption if isinstance(n, source_link)]
    for link in links:
        before = caption.children[caption.index(link) - 1]
        if before.astext().strip() == "·":
            caption.remove(before)
        caption.remove(link)
    for link in links:
        path = f"{link['page']}.py"
        caption += nodes.inline("", path, classes=["source-path"])


def _label_cells(table: nodes.tgroup) -> None:
    """Put the name of its column into each cell of a wide table."""
    head, *rows = (row.children for row in table.findall(nodes.row))
    names = [cell.astext() for cell in head]
    widths = (
        max(len(cell.astext()) for cell in column)
        for column in zip(head, *rows, strict=True)
    )
    if sum(widths) <= LETTERS:
        return
    table.parent["classes"].append("wide")
    for row in rows:
        for name, cell in zip(names, row, strict=True):
            if name and cell.astext():
                label = nodes.inline("", name, classes=["column"])
                cell.children[0].insert(0, label)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.builders.epub3")
    app.add_builder(BookBuilder, override=True)
    app.add_config_value(
        "epub_subtitle", "", "epub", types=frozenset({str})
    )
    app.add_post_transform(ForReaders)
    app.add_post_transform(Turned)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
