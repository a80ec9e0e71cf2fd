import subprocess
import sys
from pathlib import Path

import pytest

from multithreading.lab.scripts import ScriptFailedError, run_module


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module that ``run_module`` can find."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(text: str) -> str:
        (tmp_path / "some_script.py").write_text(text, "utf-8")
        return "some_script"

    return write


def test_the_module_runs_on_this_interpreter(script) -> None:
    name = script(
        "import sys\nprint(sys.executable, __name__, 'ü', sep='\\n')"
    )
    done = run_module(name)
    assert done.stdout.splitlines() == [sys.executable, "__main__", "ü"]


def test_arguments_options_and_environment_arrive(script) -> None:
    name = script(
        "import os, sys\n"
        "print(sys.argv[1:], sys.flags.optimize, os.environ['EXTRA'])"
    )
    done = run_module(
        name, "a", "b c", options=("-O",), environment={"EXTRA": "yes"}
    )
    assert done.stdout == "['a', 'b c'] 1 yes\n"


def test_a_failure_is_raised_with_what_the_script_said(script) -> None:
    name = script("raise SystemExit('out of paper')")
    with pytest.raises(ScriptFailedError, match="out of paper") as told:
        run_module(name)
    assert "exit status 1" in str(told.value)


def test_a_failure_can_be_the_result(script) -> None:
    done = run_module(script("raise SystemExit(7)"), check=False)
    assert done.returncode == 7


def test_a_script_that_hangs_is_killed(script) -> None:
    name = script("import threading; threading.Event().wait()")
    with pytest.raises(subprocess.TimeoutExpired):
        run_module(name, timeout=1.0)


def test_a_traceback_has_no_colours(script, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run_module(script("1 / 0"), check=False)
    assert "ZeroDivisionError" in done.stderr
    assert "\x1b[" not in done.stderr
