"""What Lighthouse holds against a page, from one visit to it.

``test_faults.py`` shows it a page made bad for each category.
"""

import json
import os
import subprocess
from typing import Any

from conftest import ARGUMENTS, chromium
from faults import NODE

#: What a telephone cannot give is not asked of it.
FAST = {"mobile": 95, "desktop": 100}
FIT = ("accessibility", "best-practices", "seo")
FIRST_PAINT = 1500  # milliseconds
SHIFT = 0.001  # less is not to be seen


def report(url: str, preset: str) -> dict[str, Any]:
    """Return Lighthouse's report on a page, as it prints it."""
    done = subprocess.run(
        [
            str(NODE / ".bin" / "lighthouse"),
            *(url, "--output=json", "--quiet"),
            *(["--preset=desktop"] if preset == "desktop" else []),
            "--chrome-flags=" + " ".join(["--headless", *ARGUMENTS]),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "CHROME_PATH": chromium()},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def score(report: dict[str, Any], category: str) -> int:
    """Return a score from 0 to 100; 0 where Lighthouse reached none."""
    return round(100 * (report["categories"][category]["score"] or 0))


def measure(report: dict[str, Any], audit: str) -> float:
    """Return what an audit measured; more than enough where it failed."""
    return float(report["audits"][audit].get("numericValue", "inf"))


def summary(report: dict[str, Any]) -> str:
    """Return the scores and the measures, for who reads the log."""
    scores = {
        name: score(report, name) for name in report["categories"]
    }
    paint = measure(report, "first-contentful-paint") / 1000
    return f"{scores}, first paint {paint:.2f} s"


def unfit(report: dict[str, Any]) -> list[str]:
    """What is wrong with the page however fast the machine is."""
    faults = []
    for name in FIT:
        if (found := score(report, name)) < 100:
            lost = [
                audit["id"]
                for audit in report["categories"][name]["auditRefs"]
                if audit["weight"]
                and report["audits"][audit["id"]]["score"] != 1
                and report["audits"][audit["id"]]["scoreDisplayMode"]
                not in {"notApplicable", "manual", "informative"}
            ]
            faults.append(f"{name} {found}: {', '.join(lost)}")
    shift = measure(report, "cumulative-layout-shift")
    if shift >= SHIFT:
        faults.append(f"moved by {shift:.4f}")
    return faults


def slow(report: dict[str, Any], preset: str) -> list[str]:
    """What keeps the reader waiting; a busy machine makes it worse."""
    faults = []
    if (fast := score(report, "performance")) < FAST[preset]:
        faults.append(f"performance {fast}, not {FAST[preset]}")
    paint = measure(report, "first-contentful-paint")
    if paint > FIRST_PAINT:
        faults.append(f"first paint after {paint / 1000:.2f} s")
    return faults
