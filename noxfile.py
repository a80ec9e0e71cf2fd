"""Everything this repository can do: ``nox --list``.

Runs under any Python that nox supports; the book itself needs 3.11.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["html", "tests"]

OLDEST = (3, 11)
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
#: Of what the locks pin, much has no wheel for 3.13t.
FREE_THREADED = ["3.14t", "3.15t"]
BUILD = Path("build")
HTML = BUILD / "html" / "index.html"
PDF = BUILD / "pdf" / "multithreading-in-python.pdf"
EPUB = BUILD / "epub" / "multithreading-in-python.epub"

#: The tests of what stands under ``code/``, and those of the build.
PROGRAMS = ("tests/lab", "tests/threads", "tests/multitasking")
BUILDING = (
    *("tests/book", "tests/conf", "tests/locks"),
    *("tests/test_conftest.py", "tests/test_loopback.py"),
)


def install(session: nox.Session, lock: str) -> None:
    """Install what a lock pins, and nothing that has no hash in it."""
    session.install("--require-hashes", "-r", lock, silent=True)


#: Where scripts beside the tests find what they import, as tests do.
IMPORTED = ("conf/_engine", "conf/_ext", "tests/conf")


def prepare(session: nox.Session, *more: str) -> None:
    """Install the locked packages, then the book's own from ``code/``.

    ``more`` are the locks of further packages.
    """
    asked = session.python if isinstance(session.python, str) else None
    if asked is None and sys.version_info < OLDEST:
        session.error(
            "the book needs Python 3.11 or newer, and nox runs on "
            f"{sys.version.split()[0]}; name a newer one: "
            f"nox -s {session.name} --force-python 3.13"
        )
    locks = ["requirements.lock", *more]
    try:
        for file in locks:
            install(session, file)
        session.install(
            "--no-deps",
            "--no-build-isolation",
            "--editable",
            ".",
            silent=True,
        )
    except CommandFailed:
        session.error(
            f"the packages of {' and '.join(locks)} could not be installed; "
            "the lines above say why. The first run of a session needs "
            "the network; later runs do not."
        )


def build(session: nox.Session, builder: str, *options: str) -> None:
    """Build the book; a warning is an error, in this build and the next."""
    # A folder for each builder: the pages of a chapter that the other
    # builder read anew would not be written again.
    doctrees = BUILD / "doctrees" / builder
    try:
        session.run(
            *("python", "-m", "sphinx", "--fail-on-warning"),
            *("--builder", builder, "--conf-dir", "conf"),
            *("--doctree-dir", str(doctrees)),
            *options,
            *("book", str(BUILD / builder)),
        )
    except CommandFailed:
        # Sphinx would not tell a chapter's warnings again while the
        # chapter is unchanged, and the next build would pass.
        (doctrees / "environment.pickle").unlink(missing_ok=True)
        raise


@nox.session
def html(session: nox.Session) -> None:
    """Build the book as web pages, running every cell that changed."""
    prepare(session)
    build(session, "html", *session.posargs)
    session.log(f"The book is at {HTML}: open it in a browser,")
    session.log(f"{HTML.resolve().as_uri()}")


@nox.session
def pdf(session: nox.Session) -> None:
    """Build the book as a PDF; needs nothing but pip."""
    prepare(session)
    build(session, "typst", *session.posargs)
    session.log(f"The book is at {PDF}: {PDF.resolve().as_uri()}")


@nox.session
def epub(session: nox.Session) -> None:
    """Build the book as an EPUB, for readers with a small screen."""
    prepare(session)
    build(session, "epub", *session.posargs)
    session.log(f"The book is at {EPUB}: {EPUB.resolve().as_uri()}")


def built(session: nox.Session, *builders: str) -> dict[str, str]:
    """Build the book for tests; return what tells them where it is.

    Else each process that runs tests would build it for itself.
    """
    for builder in builders:
        build(session, builder)
    return {"BOOK_BUILT": str(BUILD.resolve())}


def pytest(session: nox.Session, *chosen: str) -> None:
    """Run the tests that were asked for, or else those chosen here."""
    prepare(session)
    session.run("python", "-m", "pytest", *(session.posargs or chosen))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the book's programs on the Python at hand."""
    # A process for each core: they wait, and force what they assert.
    pytest(session, "-n", "logical", *PROGRAMS)


@nox.session
def machinery(session: nox.Session) -> None:
    """Run the tests of the build, and of the book that it makes."""
    if session.posargs:
        pytest(session)
        return
    prepare(session)
    # One process more than cores: they wait, and measure nothing.
    processes = (os.cpu_count() or 1) + 1
    session.run(
        *("python", "-m", "pytest", "-n", str(processes)),
        *("--dist", "loadgroup", *BUILDING),
        env=built(session, "html", "typst", "epub"),
    )


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the programs in each small way; see that a test notices."""
    prepare(session, "requirements-mutants.lock")
    session.run("python", "-m", "pytest", "tests/mutants")
    session.run("python", "tests/mutants", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run the programs' tests 200 times, each time in another order."""
    prepare(session)
    session.run("python", "tests/soak.py", *session.posargs, *PROGRAMS)
    free = [v for v in FREE_THREADED if shutil.which(f"python{v}")]
    for version in free:
        session.notify(f"soak_free-{version}")
    if not free:
        session.log(
            "no free-threaded Python is on the path: "
            f"{', '.join(f'python{v}' for v in FREE_THREADED)}"
        )


@nox.session(python=FREE_THREADED, default=False)
def soak_free(session: nox.Session) -> None:
    """Do the same on a free-threaded Python; soak asks for it."""
    prepare(session)
    session.run("python", "tests/soak.py", *session.posargs, *PROGRAMS)


def judges(session: nox.Session) -> None:
    """Install what judges the pages: axe and Lighthouse, from npm."""
    if not shutil.which("npm"):
        session.error(
            "npm is not found: apt-get install nodejs npm on Debian; "
            "elsewhere install Node.js 18.20 or newer"
        )
    asked, to = Path("tests/browser"), BUILD / "node"
    lock = "package-lock.json"
    done = to / "node_modules" / ".package-lock.json"
    known = done.exists() and (to / lock).exists()
    if known and (to / lock).read_text() == (asked / lock).read_text():
        return
    to.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", lock):
        shutil.copy(asked / name, to / name)
    session.run(
        *("npm", "ci", "--prefix", str(to), "--ignore-scripts"),
        *("--no-audit", "--no-fund", "--loglevel=error"),
        external=True,
    )


@nox.session
def browser(session: nox.Session) -> None:
    """Check every page in headless Chromium, and the EPUB."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if not (
        os.environ.get("CHROMIUM") or any(map(shutil.which, names))
    ):
        session.error(
            "no Chromium is found: apt-get install chromium on Debian; "
            "elsewhere install Chromium or Chrome, and set CHROMIUM to "
            "the path of its program"
        )
    prepare(session, "requirements-browser.lock")
    judges(session)
    env = {"BOOK_BROWSER": "required", **built(session, "html", "epub")}
    chosen: list[tuple[str, ...]] = [tuple(session.posargs)]
    if not session.posargs:
        # Lighthouse measures how fast pages are: after all others, alone.
        chosen = [
            (
                *("-k", "not lighthouse"),
                *("-n", "logical", "--dist", "worksteal"),
            ),
            ("-k", "lighthouse"),
        ]
    for options in chosen:
        session.run(
            *("python", "-m", "pytest", "tests/browser", *options),
            env=env,
        )


@nox.session(python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """Run the tests on each supported Python; skip those not installed."""
    pytest(session)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure how long books take to build: nox -s bench -- --growth."""
    prepare(session)
    session.run(
        *("python", "tests/bench/bench.py", *session.posargs),
        env={"PYTHONPATH": os.pathsep.join(IMPORTED)},
    )


@nox.session
def repro(session: nox.Session) -> None:
    """Build the book three times over, and tell what differs."""
    prepare(session)
    session.run(
        *("python", "tests/conf/repro.py"),
        env={"PYTHONPATH": os.pathsep.join(IMPORTED)},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and spelling."""
    prepare(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("codespell")


@nox.session
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of what the locks pin."""
    install(session, "requirements-audit.lock")
    session.run("python", "tests/locks/audit.py", *session.posargs)


@nox.session
def python(session: nox.Session) -> None:
    """Run Python with the book's modules: nox -s python -- -m MODULE."""
    prepare(session)
    session.run("python", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew the locks: the newest versions that fit together."""
    session.install("uv")
    compiling = (
        *("uv", "pip", "compile", "--quiet", "--universal"),
        *("--python-version", "3.11", "--upgrade", "--generate-hashes"),
        *("--no-annotate", "--custom-compile-command", "nox -s lock"),
    )
    session.run(
        *compiling,
        *("pyproject.toml", "--group", "book", "--group", "test"),
        *("--group", "lint", "--group", "build"),
        *("--output-file", "requirements.lock"),
    )
    for group in ("browser", "audit", "mutants"):
        session.run(
            *compiling,
            *("--group", group, "--constraints", "requirements.lock"),
            *("--output-file", f"requirements-{group}.lock"),
        )
