"""Whatever listens, listens to this machine alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebooks import code_cells, parse

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("code", "conf", "tests")
#: What takes the address to listen at as its first argument.
LISTENING = {
    "bind",
    "create_server",
    "start_server",
    "Listener",
    "create_datagram_endpoint",
}
#: How the names of the standard library's classes end that do so too.
SERVER = "Server"


def sources() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each program in the repository."""
    yield "noxfile.py", (ROOT / "noxfile.py").read_text("utf-8")
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            yield name, path.read_text("utf-8")
    for path in (ROOT / "book").rglob("*.md"):
        name = path.relative_to(ROOT).as_posix()
        for cell in code_cells(parse(path.read_text("utf-8"), path)):
            yield name, cell.source


def _name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def _called_with_an_address(tree: ast.Module) -> Iterator[ast.Call]:
    servers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(_name(base).endswith(SERVER) for base in node.bases)
    ]
    named = {node.name for node in servers}
    # one with arguments of its own gives the address itself
    own = {
        node.name: made
        for node in servers
        for made in node.body
        if isinstance(made, ast.FunctionDef) and made.name == "__init__"
    }
    for made in own.values():
        yield from (
            call
            for call in ast.walk(made)
            if isinstance(call, ast.Call)
            and _name(call.func) == "__init__"
        )
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = _name(call.func)
            is_server = name in named or (
                # "Server" itself is no class that anyone calls there
                name.endswith(SERVER) and name != SERVER
            )
            if name in LISTENING or (is_server and name not in own):
                yield call


def faults(text: str) -> list[str]:
    """Return each call that listens elsewhere than on loopback.

    The address must stand there, so that a reader sees it.
    """
    return [
        ast.unparse(call)
        for call in _called_with_an_address(ast.parse(text))
        if not (
            call.args
            and isinstance(call.args[0], ast.Tuple)
            and isinstance(call.args[0].elts[0], ast.Constant)
            and call.args[0].elts[0].value in {"127.0.0.1", "::1"}
        )
    ]


def test_every_program_listens_on_loopback_alone():
    calls = [
        call
        for _, text in sources()
        for call in _called_with_an_address(ast.parse(text))
    ]
    assert len(calls) >= 4
    found = [
        f"{name}: {fault}"
        for name, text in sources()
        for fault in faults(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "bad",
    [
        "line.bind(('', 80))",
        "line.bind(('0.0.0.0', 80))",
        "line.bind((host, 80))",
        "line.bind(address)",
        "socket.create_server(('::', 0))",
        "HTTPServer(('', 80), Handler)",
        "http.server.ThreadingHTTPServer(('0.0.0.0', 0), Handler)",
        "class Mine(TCPServer): pass\nMine(('', 0), Handler)",
        "class Mine(TCPServer):\n def __init__(self):\n"
        "  super().__init__(('', 0), Handler)\nMine()",
        "asyncio.start_server(answer, '0.0.0.0')",
        "multiprocessing.connection.Listener()",
    ],
)
def test_what_listens_elsewhere_is_told(bad):
    assert faults(bad) != []


@pytest.mark.parametrize(
    "good",
    [
        "line.bind(('127.0.0.1', 0))",
        "socket.create_server(('::1', 0))",
        "HTTPServer(('127.0.0.1', 0), Handler)",
        "class Mine(TCPServer):\n def __init__(self, pages):\n"
        "  super().__init__(('127.0.0.1', 0), Handler)\nMine(pages)",
        "line.connect(('example.org', 80))",
        "Server(settings)",
    ],
)
def test_what_listens_on_loopback_is_not(good):
    assert faults(good) == []
