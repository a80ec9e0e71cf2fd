"""Whatever is installed is pinned to an exact file, by its hash."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}$")


def faults(lock: str) -> list[str]:
    """Return each requirement that is not pinned, or has no hash.

    An option is none either, such as another index to install from.
    """
    text = re.sub(r"^\s*#.*\n", "", lock, flags=re.M)
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        head, *hashes = re.split(r"\s+(?=--)", line.strip())
        if (
            not re.fullmatch(r"[\w.-]+==[\w.!+]+( ; .+)?", head)
            or not hashes
            or not all(map(HASH.match, hashes))
        ):
            found.append(head)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_every_package_with_its_hashes(lock):
    text = lock.read_text("utf-8")
    assert text.count("==") > 3
    assert faults(text) == []


GOOD = f"one==1.0 ; python_version < '3' \\\n    --hash=sha256:{'0' * 64}\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("two==2.0", "two==2.0"),
        (GOOD.replace("==", ">="), "one>=1.0 ; python_version < '3'"),
        (
            "--index-url https://example.org",
            "--index-url https://example.org",
        ),
        (
            GOOD.replace("sha256:0", "md5:"),
            "one==1.0 ; python_version < '3'",
        ),
        (
            "three @ https://example.org/three.whl",
            "three @ https://example.org/three.whl",
        ),
    ],
)
def test_a_lock_with_a_gap_is_told(line, told):
    assert faults(GOOD) == []
    assert faults(GOOD + line) == [told]


def test_every_group_has_its_lock():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = {
        re.split(r"[=<>~! ]", name)[0]
        for group in about["dependency-groups"].values()
        for name in [*group, *about["project"]["dependencies"]]
    }
    locked = {
        name
        for lock in LOCKS
        for name in re.findall(
            r"^[\w.-]+(?===)", lock.read_text(), re.M
        )
    }
    assert asked - locked == set()


def test_nothing_is_installed_from_a_lock_without_its_hashes():
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    installs = [
        {
            arg.value
            for arg in call.args
            if isinstance(arg, ast.Constant)
        }
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "session.install"
    ]
    assert any("-r" in words for words in installs)
    for words in installs:
        assert "-r" not in words or "--require-hashes" in words


def test_npm_knows_the_hash_of_every_package():
    lock = ROOT / "tests" / "browser" / "package-lock.json"
    packages = json.loads(lock.read_text("utf-8"))["packages"]
    without = [
        name
        for name, about in packages.items()
        if name and not about.get("integrity", "").startswith("sha512-")
    ]
    assert len(packages) > 3
    assert without == []
