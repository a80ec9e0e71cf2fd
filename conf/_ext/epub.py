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
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import jinja2
import typst
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.epub3 import Epub3Builder
from sphinx.highlighting import PygmentsBridge
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

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

MEDIA_TYPES = {
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
}

#: What a landmark of the navigation is called, by the page's name.
LANDMARKS = {
    "reference/glossary": "glossary",
    "reference/bibliography": "bibliography",
    "genindex": "index",
}

#: A table of as many columns is a list of cells on a narrow screen.
WIDE = 4


class Entry(NamedTuple):
    """A line of the table of contents; a part's has no page of its own."""

    title: str
    href: str
    children: list[Entry]


class BookBuilder(Epub3Builder):
    """Writes the pages of the book, and packs them."""

    def init(self) -> None:
        """Take templates from ``conf/epub/``, never those of the web."""
        self.config.templates_path = [str(LOOKS)]
        super().init()

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
        """Pack the book."""
        pages = [f"{name}.xhtml" for name in self._names()]
        others = [COVER, *FILES]
        if self.images:
            others += [
                f"{self.imagedir}/{name}"
                for name in sorted(set(self.images.values()))
            ]
        files = [*pages, *others]
        texts = {page: self._read(page) for page in pages}
        moment = time.gmtime(
            int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        )
        contents = list(self._contents())
        about = {
            "config": self.config,
            "contents": contents,
            "files": files,
            "first": contents[1].children[0].href
            if len(contents) > 1 and contents[1].children
            else pages[0],
            "landmarks": {
                f"{name}.xhtml": kind
                for name, kind in LANDMARKS.items()
                if f"{name}.xhtml" in pages
            },
            "media_types": {
                file: MEDIA_TYPES[Path(file).suffix] for file in files
            },
            "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
            "pages": pages,
            "properties": {
                page: "svg" for page in pages if "<svg" in texts[page]
            }
            | {COVER: "cover-image"},
            "titles": self._titles(),
        }
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(LOOKS),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        written = ["META-INF/container.xml", "content.opf", "nav.xhtml"]
        for name in written:
            text = environment.get_template(Path(name).name).render(
                about
            )
            to = Path(self.outdir, name)
            to.parent.mkdir(exist_ok=True)
            to.write_text(text, "utf-8")
        name = f"{self.config.epub_basename}.epub"
        pack(Path(self.outdir), name, [*written, *files], moment)
        logger.info("The EPUB is %s.", Path(self.outdir, name))

    def _read(self, page: str) -> str:
        return Path(self.outdir, page).read_text("utf-8")

    # What is in the book, in its order ---------------------------------

    def _parts(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each part's name and the names of its pages."""
        root = self.env.get_doctree(self.config.root_doc)
        for toctree in root.findall(addnodes.toctree):
            names = [name for _, name in toctree["entries"]]
            yield toctree.get("caption") or "", names

    def _names(self) -> list[str]:
        """Return the names of the pages."""
        chapters = [name for _, names in self._parts() for name in names]
        return [self.config.root_doc, *chapters]

    def _titles(self) -> dict[str, str]:
        titles = {"genindex": "Index"} | {
            name: title.astext()
            for name, title in self.env.titles.items()
        }
        return {f"{name}.xhtml": titles[name] for name in self._names()}

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
    folder: Path, name: str, files: list[str], moment: time.struct_time
) -> None:
    """Write the package; equal files and moment give equal bytes."""

    def info(file: str, how: int) -> ZipInfo:
        found = ZipInfo(file, moment[:6])
        found.compress_type = how
        found.external_attr = 0o644 << 16
        found.create_system = 3
        return found

    with ZipFile(folder / name, "w") as package:
        # the first file, and not compressed: so the format is known
        package.writestr(
            info("mimetype", ZIP_STORED), "application/epub+zip"
        )
        for file in files:
            data = (folder / file).read_bytes()
            package.writestr(info(file, ZIP_DEFLATED), data)


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
            if table["cols"] >= WIDE:
                _label_cells(table)


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
    """Put the name of its column into each cell."""
    table.parent["classes"].append("wide")
    head = next(table.findall(nodes.thead), None)
    body = next(table.findall(nodes.tbody), None)
    if head is None or body is None:
        return
    names = [entry.astext() for entry in head.findall(nodes.entry)]
    for row in body.findall(nodes.row):
        for name, entry in zip(names, row.children, strict=True):
            if name and entry.astext():
                label = nodes.inline("", name, classes=["column"])
                entry.children[0].insert(0, label)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.builders.epub3")
    app.add_builder(BookBuilder, override=True)
    app.add_config_value("epub_subtitle", "", "epub", types=frozenset({str}))
    app.add_post_transform(ForReaders)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
