"""Each chapter to take along: as a notebook, and as a script.

Both run wherever the package ``multithreading`` is installed. The text
is the chapter's, without what only MyST understands; the code is the
chapter's, without ``glue``, which hands values to the text.
"""

from __future__ import annotations

import ast
import copy
import platform
import re
import textwrap
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

from execution import prepared
from listing import module_file
from notebooks import code_cells

FOLDER = "_downloads"
#: The endings of what a page offers, and the words for them.
FORMS = {"ipynb": "notebook", "py": "script"}

_BLOCK = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\} *(?P<given>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=fence)[ ]*\n?",
    re.M | re.S,
)
_ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
_OPTION = re.compile(r"^:(\w+): *(.*)\n", re.M)

HEAD = """\
**{title}**, a chapter of *{project}*, to run.

It needs the package `multithreading`: in a checkout of the book,
`python -m pip install --editable .` installs it.
The outputs were made on {interpreter}."""

#: So that a script behaves as the notebook does. A notebook's code has no
#: file, and a process that it starts does not run the code again.
SCRIPT_HEAD = """\
# A process that is started here must not run this file again.
del __file__
"""


class Plain:
    """Turns a chapter's MyST into Markdown that every viewer knows."""

    def __init__(
        self, env: BuildEnvironment, values: dict[str, str]
    ) -> None:
        self.env = env
        self.values = values

    def text(self, myst: str) -> str:
        """Return the text without directives, labels and roles."""
        myst = re.sub(r"^\([\w-]+\)=\n", "", myst, flags=re.M)
        myst = _BLOCK.sub(self._block, myst)
        plain = _ROLE.sub(self._role, myst)
        return re.sub(r"\n{3,}", "\n\n", plain).strip("\n")

    def _block(self, block: re.Match[str]) -> str:
        name, given = block["name"], block["given"].strip()
        options = dict(_OPTION.findall(block["body"]))
        body = _OPTION.sub("", block["body"])
        if name == "listing":
            caption = options.get("caption", given)
            return f"**{caption}** (`{given}`)\n\n{self._code(given)}\n"
        if name in {"index", "toctree"}:
            return ""
        title = given or name.capitalize()
        quoted = f"**{title}**\n\n{self.text(body)}"
        return textwrap.indent(quoted, "> ", lambda _: True) + "\n"

    def _code(self, listed: str) -> str:
        module, _, name = listed.partition(":")
        path = module_file(module)
        lines = path.read_text("utf-8").splitlines()
        if name:
            tags = ModuleAnalyzer.for_file(path, module).find_tags()
            _, start, end = tags[name]
            lines = lines[start - 1 : end]
        code = textwrap.dedent("\n".join(lines)).rstrip()
        return f"```python\n{code}\n```"

    def _role(self, role: re.Match[str]) -> str:
        name, given = role.groups()
        titled = re.fullmatch(r"(.+?)\s*<(.+)>", given, re.S)
        words, target = titled.groups() if titled else ("", given)
        if name == "glue:text":
            return self.values[given]
        if name == "numref":
            return self._number(target)
        if name == "ref" and not words:
            labels = self.env.domains["std"].labels
            return labels[target][2] if target in labels else target
        if name.startswith("cite"):
            return "; ".join(f"[{key}]" for key in target.split(","))
        return words or target

    def _number(self, target: str) -> str:
        docname, label = self.env.domains["std"].anonlabels[target]
        kind = "code-block" if target.startswith("lst-") else "figure"
        numbers = self.env.toc_fignumbers[docname][kind][label]
        form = self.env.config.numfig_format[kind]
        return str(form % ".".join(map(str, numbers)))


def glued(notebook: NotebookNode) -> dict[str, str]:
    """Return the values that the cells hand to the text, by their names."""
    values = {}
    for cell in code_cells(notebook):
        for output in cell.outputs:
            about = output.get("metadata", {}).get("scrapbook")
            if about:
                # glued and not shown: its type has a prefix
                words = next(
                    data
                    for mime, data in output.data.items()
                    if mime.endswith("text/plain")
                )
                values[about["name"]] = str(ast.literal_eval(words))
    return values


def without_glue(source: str) -> str:
    """Return a cell's code without the lines that concern ``glue``."""
    lines = source.splitlines()
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "cell", "exec", flags)
    for statement in reversed(tree.body):
        imported = (
            isinstance(statement, ast.ImportFrom)
            and statement.module == "myst_nb"
        )
        called = (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and getattr(statement.value.func, "id", "") == "glue"
        )
        if imported or called:
            del lines[statement.lineno - 1 : statement.end_lineno]
    return "\n".join(lines).strip("\n")


def as_notebook(
    chapter: NotebookNode, plain: Plain, head: str
) -> NotebookNode:
    """Return the chapter as a notebook for any viewer, outputs included."""
    cells = [nbformat.v4.new_markdown_cell(head)]
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            if text := plain.text(cell.source):
                cells.append(nbformat.v4.new_markdown_cell(text))
        else:
            tags = cell.metadata.get("tags", [])
            new = nbformat.v4.new_code_cell(
                without_glue(cell.source),
                execution_count=cell.execution_count,
                outputs=[
                    copy.deepcopy(output)
                    for output in cell.outputs
                    if "scrapbook" not in output.get("metadata", {})
                ],
                metadata={"tags": tags} if tags else {},
            )
            cells.append(new)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same in every build
    return nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {
                "name": "python3",
                "display_name": "Python 3",
                "language": "python",
            },
            "language_info": {"name": "python"},
        },
    )


def as_script(notebook: NotebookNode) -> str:
    """Return the notebook's cells as one script, its text as comments."""
    import jupytext  # here, since few builds write a download

    notebook = copy.deepcopy(notebook)
    for cell in code_cells(notebook):
        if "raises-exception" in cell.metadata.get("tags", []):
            tried = textwrap.indent(cell.source, "    ")
            cell.source = (
                f"try:\n{tried}\nexcept Exception as error:\n"
                "    print(repr(error))"
            )
        if re.search(r"^(?:\w+ = )?await ", cell.source, re.M):
            run = re.sub(
                r"^((?:\w+ = )?)await (.+)$",
                r"\1asyncio.run(\2)",
                cell.source,
                flags=re.M,
            )
            cell.source = f"import asyncio\n\n{run}"
    first = nbformat.v4.new_code_cell(SCRIPT_HEAD.strip())
    notebook.cells.insert(1, first)
    return str(jupytext.writes(notebook, fmt="py:percent"))


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write both forms of each chapter read; remove those of no page."""
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir, FOLDER)
    name = platform.python_implementation()
    interpreter = f"{name} {platform.python_version()}"
    for name, chapter in prepared().items():
        if not code_cells(chapter):
            continue
        head = HEAD.format(
            title=app.env.titles[name].astext(),
            project=app.config.project,
            interpreter=interpreter,
        )
        notebook = as_notebook(
            chapter, Plain(app.env, glued(chapter)), head
        )
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook) + "\n", "utf-8")
        path.with_suffix(".py").write_text(as_script(notebook), "utf-8")
    for ending in FORMS:
        for path in folder.rglob(f"*.{ending}"):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name not in app.env.found_docs:
                path.unlink()


def offer(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Tell the page's template what can be taken along."""
    cells = getattr(app.env, "pages_with_cells", set())
    if app.builder.name == "html" and doctree and page in cells:
        context["downloads"] = [
            (words, context["pathto"](f"{FOLDER}/{page}.{ending}", 1))
            for ending, words in FORMS.items()
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", offer)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
