"""The instruments, on a program of your own.

``python -m multithreading.lab explore shop.py:buy,sell`` runs every
order that the threads allow; ``python -m multithreading.lab timeline
shop.py`` records what each thread does. Both write a web page.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from multithreading.lab.explorer import Explorer
from multithreading.lab.schedules import ScheduleError, load, outcomes
from multithreading.lab.steps import StepKind
from multithreading.lab.timeline import RecordingError, record_script


class _UsageError(Exception):
    """What was asked for cannot be done; the text says why."""


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m multithreading.lab",
        description="Show what the threads of a program can do, or did.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    explore = commands.add_parser(
        "explore",
        help="run every order that some functions allow",
        description="Run functions as threads, in every order, and write "
        "a page on which you choose the order.",
        epilog="Without --setup the file is run anew for each order, and "
        "the functions share its variables. With --setup each function "
        "is called with what that function returns. For example: "
        "python -m multithreading.lab explore shop.py:buy,sell",
    )
    explore.add_argument(
        "program",
        metavar="FILE.py:FUNCTION,FUNCTION",
        help="the functions, each of which is a thread; one that is "
        "named twice is two threads",
    )
    explore.add_argument(
        "--setup", help="the function that makes what the threads share"
    )
    explore.add_argument(
        "--result", help="the function that returns what came out"
    )
    explore.add_argument(
        "--step",
        choices=get_args(StepKind),
        default="line",
        help="how much a thread does before another may go on "
        "(default: line)",
    )
    explore.add_argument(
        "--preemptions",
        type=_count,
        metavar="N",
        help="run only the orders in which at most N times a thread has "
        "to stand back",
    )
    explore.set_defaults(run=_explore)
    timeline = commands.add_parser(
        "timeline",
        usage="%(prog)s [-h] [--output FILE.html] FILE.py "
        "[-- ARGUMENT ...]",
        help="record what each thread of a script does",
        description="Run a script, and write a page that shows what each "
        "of its threads did, and when. What follows -- is for the script.",
        epilog="For example: python -m multithreading.lab timeline "
        "shop.py -- --quick",
    )
    timeline.add_argument("script", type=Path, metavar="FILE.py")
    timeline.set_defaults(run=_timeline)
    for command in (explore, timeline):
        command.add_argument(
            "--output",
            type=Path,
            metavar="FILE.html",
            help="where to write the page (default: beside the program, "
            "named like it)",
        )
    return parser


def _explore(given: argparse.Namespace) -> int:
    if given.arguments:
        raise _UsageError("only a script gets arguments, after --")
    program = load(given.program, given.setup, given.result)
    path = Path(given.program.rpartition(":")[0])
    output = _output(given.output, path, "explore")
    found = outcomes(program, given.step, preemptions=given.preemptions)
    print(found)
    explorer = Explorer(found, name="explore")
    _write(output, explorer.page(f"Every schedule of {given.program}"))
    return 0


def _timeline(given: argparse.Namespace) -> int:
    script: Path = given.script
    if not script.is_file():
        raise _UsageError(f"{script}: there is no such file")
    output = _output(given.output, script, "timeline")
    timeline, error = record_script(script, given.arguments)
    if error is not None:
        _tell(error, script)
    if timeline.lanes:
        print(timeline.alt())
        title = f"What the threads of {script} did"
        _write(output, timeline.page(title))
    elif error is None:
        raise _UsageError(f"{script}: it started no thread")
    return int(error is not None)


def _tell(error: BaseException, script: Path) -> None:
    """Print what ended a script, as Python would."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return
    place = error.__traceback__
    while place and place.tb_frame.f_code.co_filename != str(script):
        place = place.tb_next
    traceback.print_exception(error.with_traceback(place))


def _output(given: Path | None, program: Path, kind: str) -> Path:
    output = given or program.with_name(f"{program.stem}-{kind}.html")
    if not output.parent.is_dir():
        raise _UsageError(f"{output.parent}: there is no such folder")
    if output.is_dir():
        raise _UsageError(
            f"{output}: it is a folder; name a file in it"
        )
    return output


def _write(output: Path, page: str) -> None:
    output.write_text(page, "utf-8")
    print(f"The page is {output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit status.

    It is 1 where a recorded script failed, and 2 where what was asked
    for cannot be done, after one line that says why.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # not by argparse: before 3.14 it wants all of these in one place
    split = words.index("--") if "--" in words else len(words)
    given = _parser().parse_args(words[:split])
    given.arguments = words[split + 1 :]
    try:
        status: int = given.run(given)
    except (
        _UsageError,
        ScheduleError,
        RecordingError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
