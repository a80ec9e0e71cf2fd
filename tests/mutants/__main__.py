"""Break the book's programs on purpose, and see that a test notices.

Each mutant is a module with one small fault, tried by the module's own
tests. What was found is kept in build/mutants.sqlite: a run that is
interrupted goes on where it was. A killed mutant is tried again when
its module changes, one that survived also when its tests change.
survivors.toml explains those that no test can kill.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

from mutating import (
    PROGRAMS,
    ROOT,
    TESTS,
    Mutant,
    judges_of,
    modules,
    mutants,
)
from trials import BrokenError, Verdict, prepared

STORE = ROOT / "build" / "mutants.sqlite"
EXPLAINED = Path(__file__).with_name("survivors.toml")
#: The part of the mutants that the tests have to kill.
KILLED = 0.9
#: Seconds between two lines of progress.
PAUSE = 30.0

Place = tuple[str, str, str, str]


class _UsageError(Exception):
    """What was asked for cannot be done; the text says why."""


def chosen_modules(prefixes: Sequence[str]) -> list[str]:
    """Name the modules whose paths begin with one of the prefixes."""
    known = modules()
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in known):
            raise _UsageError(
                f"{prefix}: no module begins so; there are "
                f"{', '.join(known)}"
            )
    return [n for n in known if n.startswith(tuple(prefixes) or "")]


def explained(text: str) -> dict[Place, str]:
    """Read the list of survivors: where each is, and why it may live."""
    found: dict[Place, str] = {}
    try:
        for reason in tomllib.loads(text).get("reason", []):
            why, survivors = reason["why"], reason["survivors"]
            if not why.strip():
                raise ValueError("a reason says nothing")
            for module, function, was, becomes in survivors:
                found[module, function, was, becomes] = why
    except KeyError as lacking:
        problem = f"a reason lacks {lacking}"
    except ValueError as error:
        unpacking = "unpack" in str(error)
        problem = (
            "a survivor has four parts" if unpacking else str(error)
        )
    else:
        return found
    raise _UsageError(f"{EXPLAINED.name}: {problem}")


def entry(mutant: Mutant) -> str:
    """Return a survivor as it stands in the list."""
    return f"    [{', '.join(map(_quoted, mutant.place))}],"


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cache  # they may be changed during the run
def digest(module: str) -> str:
    """Name the tests of a module as they are now."""
    found = hashlib.sha256()
    for file in judges_of(module):
        found.update((ROOT / TESTS / file).read_bytes())
    return found.hexdigest()[:16]


def known(db: WorkDB, wanted: Sequence[Mutant]) -> dict[str, Verdict]:
    """Return what an earlier run found, by the mutants' keys."""
    tests = {m.key: digest(m.module) for m in wanted}
    found = {}
    for key, result in db.results:
        if key in tests:
            killed = result.test_outcome == TestOutcome.KILLED
            if killed or result.output == tests[key]:
                by = result.output if killed else ""
                found[key] = Verdict(killed, by)
    return found


def keep(db: WorkDB, mutant: Mutant, verdict: Verdict) -> None:
    """Write down what was found."""
    outcome = (
        TestOutcome.KILLED if verdict.killed else TestOutcome.SURVIVED
    )
    db.set_result(
        mutant.key,
        WorkResult(
            WorkerOutcome.NORMAL,
            verdict.by if verdict.killed else digest(mutant.module),
            outcome,
            "- {}\n+ {}".format(*mutant.lines),
        ),
    )


def try_all(
    db: WorkDB, wanted: Sequence[Mutant], found: dict[str, Verdict]
) -> None:
    """Try the mutants that are not yet judged; tell of the progress."""
    stored = {item.job_id for item in db.work_items}
    db.add_work_items(m.item() for m in wanted if m.key not in stored)
    waiting = [m for m in wanted if m.key not in found]
    print(
        f"{len(wanted)} mutants, of which {len(waiting)} are to be tried",
        flush=True,
    )
    if not waiting:
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trials = prepared(Path(folder), os.cpu_count() or 1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, trials.stop)
        begin = said = 0.0
        for done, (mutant, verdict) in enumerate(
            trials.run(waiting), 1
        ):
            found[mutant.key] = verdict
            keep(db, mutant, verdict)
            now = time.monotonic()
            begin = begin or now  # after the tests ran as they are
            if now - said > PAUSE:
                said = now
                left = (now - begin) / done * (len(waiting) - done)
                lived = sum(not v.killed for v in found.values())
                print(
                    f"{len(found)} of {len(wanted)} judged, {lived} "
                    f"survived; in {mutant.module}; about "
                    f"{left / 60:.0f} min left",
                    flush=True,
                )


def report(
    wanted: Sequence[Mutant],
    found: dict[str, Verdict],
    reasons: dict[Place, str],
) -> Iterator[str]:
    """Print what was found; yield what is wrong with it."""
    every = Counter(m.module for m in wanted)
    lived = [
        m for m in wanted if m.key in found and not found[m.key].killed
    ]
    judged = Counter(m.module for m in wanted if m.key in found)
    survived = Counter(m.module for m in lived)
    print(f"\n{'module':34}mutants  killed  survived  not tried")
    for name in [*every, "all"]:
        counts = (
            counter.total() if name == "all" else counter[name]
            for counter in (every, judged, survived)
        )
        total, done, left = counts
        print(
            f"{name:34}{total:7}{done - left:8}{left:10}"
            f"{total - done:11}"
        )
    if judged.total() < every.total():
        yield "some mutants were not tried; the next run goes on there"
    killed = judged.total() - survived.total()
    if killed < KILLED * judged.total():
        yield (
            f"the tests kill {killed / judged.total():.1%} of the "
            f"mutants, and have to kill {KILLED:.0%}"
        )
    if new := [m for m in lived if m.place not in reasons]:
        print("\nNo test notices these:\n")
        print("\n".join(entry(mutant) for mutant in new))
        yield (
            f"{len(new)} survivors are not explained: write a test "
            f"that each fails, or add it to {EXPLAINED.name} with why "
            "none can"
        )
    # one that is not judged yet may still survive
    killed_keys = {
        key for key, verdict in found.items() if verdict.killed
    }
    places = {m.place for m in wanted if m.key not in killed_keys}
    names = {m.module for m in wanted}
    gone = {place[0] for place in reasons} - {*modules()}
    for place in reasons:
        if place[0] in names | gone and place not in places:
            print(
                f"{EXPLAINED.name}: this one no longer survives; "
                f"drop its entry: {' | '.join(place)}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants that are asked for; return 1 if one is amiss."""
    parser = argparse.ArgumentParser(
        prog="nox -s mutants --", description=__doc__
    )
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="only the modules whose paths begin so: threads, or "
        "lab/steps.py",
    )
    parser.add_argument(
        "--anew", action="store_true", help="forget earlier runs"
    )
    given = parser.parse_args(arguments)
    os.nice(19)
    try:
        reasons = explained(EXPLAINED.read_text("utf-8"))
        wanted = [
            mutant
            for module in chosen_modules(given.modules)
            for mutant in mutants(
                module, (ROOT / PROGRAMS / module).read_text("utf-8")
            )
        ]
        if given.anew:
            STORE.unlink(missing_ok=True)
        STORE.parent.mkdir(exist_ok=True)
        with use_db(str(STORE)) as db:
            found = known(db, wanted)
            try_all(db, wanted, found)
        faults = list(report(wanted, found, reasons))
    except (_UsageError, BrokenError) as error:
        faults = [str(error)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
