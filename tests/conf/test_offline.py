"""A build asks nobody but this machine, and would be seen to."""

import os
import subprocess
import sys

import pytest

from building import Offline

BUILDERS = ("html", "epub", "typst")
#: An extension that asks another host, and does not mind a refusal.
ASKING = """
import contextlib
import urllib.request

def setup(app):
    with contextlib.suppress(OSError):
        urllib.request.urlopen("http://example.invalid/theme.css")
    return {"parallel_read_safe": True}
"""


@pytest.fixture
def offline(tree):
    return Offline(tree.root / "asked.txt", tree.root / "code")


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_build_asks_nobody(tree, cell, offline, builder):
    tree.chapters(
        one=f"*A claim.*\n\n{cell('import math; math.pi')}\n\n"
        "It uses {py:class}`threading.Thread`."
    )
    built = tree.build("--builder", builder, **offline.environment)
    assert built.status == 0, built.err
    assert offline.asked() == []


def test_a_build_that_asks_is_told(tree, offline):
    (tree.root / "conf" / "_ext" / "asking.py").write_text(ASKING)
    with (tree.root / "conf" / "conf.py").open("a") as settings:
        settings.write('extensions.append("asking")\n')
    tree.chapters(one="Text.")
    built = tree.build(**offline.environment)
    assert built.status == 0, built.err
    assert offline.asked() == ["socket.getaddrinfo example.invalid"]


def test_a_cell_that_asks_is_told(tree, cell, offline):
    code = (
        "import socket\n"
        "with socket.socket() as line:\n"
        "    line.connect_ex(('192.0.2.1', 9))"
    )
    tree.chapters(one=cell(code))
    built = tree.build(**offline.environment)
    assert built.status != 0
    assert "192.0.2.1 is not on this machine" in built.err
    assert offline.asked() == ["socket.connect 192.0.2.1"]


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("line.connect(('192.0.2.1', 9))", "connect 192.0.2.1"),
        ("line.connect(('2001:db8::1', 9))", "connect 2001:db8::1"),
        ("line.sendto(b'', ('192.0.2.1', 9))", "sendto 192.0.2.1"),
        (
            "line.sendmsg([b''], [], 0, ('192.0.2.1', 9))",
            "sendmsg 192.0.2.1",
        ),
        ("s.gethostbyname('a.invalid')", "gethostbyname a.invalid"),
        ("s.gethostbyaddr('192.0.2.1')", "gethostbyaddr 192.0.2.1"),
        ("s.getaddrinfo('a.invalid', 9)", "getaddrinfo a.invalid"),
        ("s.getaddrinfo('localhost', 9); s.getaddrinfo(None, 9)", None),
        ("line.connect(('127.0.0.1', 9))", None),
    ],
)
def test_only_loopback_may_be_asked(tmp_path, code, asked):
    offline = Offline(tmp_path / "asked.txt")
    family = "AF_INET6" if "2001:" in code else "AF_INET"
    program = (
        "import contextlib, socket as s\n"
        f"with s.socket(s.{family}, s.SOCK_DGRAM) as line, "
        f"contextlib.suppress(OSError):\n    {code}\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | offline.environment,
        timeout=60,
        check=True,
    )
    wanted = [f"socket.{asked}"] if asked else []
    assert offline.asked() == wanted
