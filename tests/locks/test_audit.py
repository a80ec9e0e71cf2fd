"""An audit that could not be made says so, and one that could decides."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import audit
from multithreading.lab.site import open_site, refusing


def run(osv: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run the audit, with no programs but those in a folder."""
    return subprocess.run(
        [sys.executable, audit.__file__, "--osv-url", osv],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=100,
    )


@contextmanager
def answering(answer: str) -> Iterator[str]:
    """Serve the same answer to whatever is asked; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_an_audit_that_reaches_nobody_says_that_nothing_was_audited(
    tmp_path,
):
    with refusing() as osv:
        done = run(osv, tmp_path)
    assert done.returncode == 0, done.stderr
    python, npm = done.stdout.splitlines()
    count = len(audit.pins())
    assert python.startswith(
        f"NOT AUDITED: the {count} packages from PyPI: {osv} "
        "does not answer: "
    )
    assert npm == "NOT AUDITED: the packages from npm: npm is not found"


def test_who_is_no_database_is_not_believed(tmp_path):
    with open_site([]) as site:
        done = run(site.url, tmp_path)
    assert done.returncode == 0
    assert f"{site.url} does not answer: HTTP Error 501" in done.stdout


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("{}", "knows no vulnerability at all"),
        ('{"vulns": []}', "knows no vulnerability at all"),
        ("<p>Log in</p>", "does not answer: "),
        ("[]", "does not answer: "),
    ],
)
def test_an_answer_that_knows_nothing_is_none(tmp_path, answer, told):
    with answering(answer) as osv:
        done = run(osv, tmp_path)
    assert done.returncode == 0
    (line,) = [s for s in done.stdout.splitlines() if "PyPI" in s]
    assert line.startswith("NOT AUDITED: ")
    assert told in line


def test_what_a_database_knows_fails_the_audit(tmp_path):
    with answering('{"vulns": [{"id": "X", "affected": []}]}') as osv:
        done = run(osv, tmp_path)
    # so it does where pip-audit, which is not in the book's own
    # environment, is missing: that is no clean bill
    assert done.returncode == 1
    assert "NOT AUDITED: the packages from npm" in done.stdout
    assert "from PyPI: " not in done.stdout


@pytest.mark.skipif(
    sys.platform == "win32", reason="writes a sh script"
)
@pytest.mark.parametrize(
    ("report", "status", "told"),
    [
        (
            {"auditReportVersion": 2, "vulnerabilities": {}},
            0,
            "0 vulnerable from npm",
        ),
        (
            {
                "auditReportVersion": 2,
                "vulnerabilities": {
                    "axe": {"range": "<4", "severity": "high"}
                },
            },
            1,
            "axe <4: high\n1 vulnerable from npm",
        ),
        (
            {"message": "405 Method Not Allowed"},
            0,
            "NOT AUDITED: the packages from npm: 405 Method Not Allowed",
        ),
    ],
)
def test_the_report_of_npm_decides(tmp_path, report, status, told):
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho '{json.dumps(report)}'\nexit 1\n")
    npm.chmod(0o755)
    with refusing() as osv:
        done = run(osv, tmp_path)
    assert done.returncode == status
    assert told in done.stdout


def test_every_pin_is_looked_up_once():
    locks = Path(audit.ROOT).glob("requirements*.lock")
    lines = {
        f"{line.split()[0]}\n"
        for lock in locks
        for line in lock.read_text("utf-8").splitlines()
        if "==" in line and line[0].isalnum()
    }
    asked = list(audit.rounds(audit.pins()))
    assert sorted(pin for pins in asked for pin in pins) == sorted(
        lines
    )
    for pins in asked:
        names = [pin.partition("==")[0] for pin in pins]
        assert len(names) == len(set(names))
