"""Looks up known vulnerabilities of all that the locks pin.

The databases change while the repository does not, so this is no test:
``nox -s audit`` runs it. It fails where a vulnerability is known. Where
a database cannot be asked it says, in one line, what was not audited.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.M)
#: Has vulnerabilities, which a database that is one must know.
VULNERABLE = {
    "package": {"name": "requests", "ecosystem": "PyPI"},
    "version": "2.19.0",
}


def pins() -> dict[str, list[str]]:
    """Return the versions of each package that the locks pin.

    A package has several where they differ by platform or Python.
    """
    found: dict[str, list[str]] = {}
    for lock in sorted(ROOT.glob("requirements*.lock")):
        for name, version in PIN.findall(lock.read_text("utf-8")):
            versions = found.setdefault(name, [])
            if version not in versions:
                versions.append(version)
    return found


def unaudited(what: str, why: object) -> None:
    """Say that nothing is known now, which is not that all is well."""
    print(f"NOT AUDITED: {what}: {why}", flush=True)


def unanswered(osv: str) -> object:
    """Return why a database of OSV's kind does not answer, or None."""
    asked = urllib.request.Request(  # noqa: S310
        osv, json.dumps(VULNERABLE).encode()
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:  # noqa: S310
            known = json.load(reply).get("vulns")
    except (OSError, ValueError, AttributeError) as error:
        return f"{osv} does not answer: {error}"
    return None if known else f"{osv} knows no vulnerability at all"


def rounds(found: dict[str, list[str]]) -> Iterator[list[str]]:
    """Yield lists of pins, with no package twice in one of them."""
    for number in range(max(map(len, found.values()))):
        yield [
            f"{name}=={versions[number]}\n"
            for name, versions in found.items()
            if number < len(versions)
        ]


def audit_python(osv: str) -> bool:
    """Have pip-audit look up the locks; return whether it found nothing.

    It is given each pin by itself, since it would leave out those that
    are for another platform than this.
    """
    found = pins()
    if why := unanswered(osv):
        unaudited(f"the {len(found)} packages from PyPI", why)
        return True
    well = True
    with tempfile.TemporaryDirectory() as folder:
        for number, lines in enumerate(rounds(found)):
            file = Path(folder, f"{number}.txt")
            file.write_text("".join(lines), "utf-8")
            command = [
                *(sys.executable, "-m", "pip_audit", "--disable-pip"),
                *("--no-deps", "--requirement", str(file), "--strict"),
                *("--vulnerability-service", "osv", "--osv-url", osv),
                *("--cache-dir", folder, "--progress-spinner", "off"),
            ]
            print(f"{len(lines)} packages from PyPI", flush=True)
            # else it warns of pins without a hash: the locks have them
            quiet = {**os.environ, "PIP_AUDIT_LOGLEVEL": "ERROR"}
            well &= subprocess.run(command, env=quiet).returncode == 0
    return well


def audit_npm() -> bool:
    """Have npm look up its lock; return whether it found nothing."""
    what = "the packages from npm"
    npm = shutil.which("npm")
    if npm is None:
        unaudited(what, "npm is not found")
        return True
    done = subprocess.run(
        [npm, "audit", "--package-lock-only", "--json"],
        cwd=ROOT / "tests" / "browser",
        capture_output=True,
        text=True,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {"message": done.stderr.strip()}
    if "auditReportVersion" not in report:
        unaudited(what, report.get("message", "no report"))
        return True
    for name, about in report["vulnerabilities"].items():
        print(f"{name} {about['range']}: {about['severity']}")
    print(f"{len(report['vulnerabilities'])} vulnerable from npm")
    return not report["vulnerabilities"]


def main() -> int:
    """Audit all locks; return 1 where a vulnerability is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--osv-url", default="https://api.osv.dev/v1/query"
    )
    osv = parser.parse_args().osv_url
    return 0 if all([audit_python(osv), audit_npm()]) else 1


if __name__ == "__main__":
    sys.exit(main())
