"""Races: what is right alone, wrong together, and seldom seen to be."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from multithreading.lab.schedules import Program
from multithreading.threads.locks import Tally

if TYPE_CHECKING:
    from multithreading.lab.pictures import Picture

#: How long any wait of this module may last, in seconds.
LIMIT = 60.0


# --- Check, then act ---


@dataclass
class Chat:
    """Nicknames and whose they are; who was told "it is yours"."""

    owners: dict[str, str] = field(default_factory=dict)
    promised: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def take_name(chat: Chat, user: str) -> None:
    """Take the nickname "kim"; broken: checks, then acts."""
    if "kim" not in chat.owners:
        chat.owners["kim"] = user
        chat.promised.append(user)


def take_name_locked(chat: Chat, user: str) -> None:
    """Take the nickname "kim"; the lock covers check and act."""
    with chat.lock:
        if "kim" not in chat.owners:
            chat.owners["kim"] = user
            chat.promised.append(user)


def take_name_logged(chat: Chat, user: str) -> None:
    """Take the nickname "kim"; broken, and with a call in between."""
    if "kim" not in chat.owners:
        describe(user)
        chat.owners["kim"] = user
        chat.promised.append(user)


def describe(user: str) -> str:
    """Return a line for a log file."""
    return f"{user} takes kim"


def both_take(take: Callable[..., object]) -> Program:
    """Return the program in which Ann and Bo want one nickname."""
    return Program(
        [partial(take, user="ann"), partial(take, user="bo")],
        Chat,
        lambda chat: f"promised to {len(chat.promised)}",
    )


# --- Publication ---


@dataclass
class Settings:
    """What a server has to know before it starts."""

    port: int = 0


@dataclass
class Server:
    """A server: its settings, once loaded, and where it listened."""

    settings: Settings | None = None
    ports: list[int] = field(default_factory=list)


def load(server: Server) -> None:
    """Load the settings; broken: shows them, then fills them in."""
    server.settings = Settings()
    server.settings.port = int("8080")


def load_first(server: Server) -> None:
    """Load the settings; show them when they are complete."""
    settings = Settings()
    settings.port = int("8080")
    server.settings = settings


def listen(server: Server) -> None:
    """Listen on the port of the settings, if they are there."""
    settings = server.settings
    if settings is not None:
        server.ports.append(settings.port)


def listened(server: Server) -> str:
    """Tell where the server listened."""
    return f"port {server.ports[0]}" if server.ports else "not yet"


# --- Iteration ---


@dataclass
class Room:
    """Who is in a room, in a list, and who was greeted."""

    members: list[str] = field(
        default_factory=lambda: ["ann", "bo", "cy"]
    )
    greeted: list[str] = field(default_factory=list)


@dataclass
class Hall:
    """Who is in a hall, each with a seat, and who was greeted."""

    members: dict[str, int] = field(
        default_factory=lambda: {"ann": 1, "bo": 2, "cy": 3}
    )
    greeted: list[str] = field(default_factory=list)


def greet(place: Room | Hall) -> None:
    """Greet everyone; broken: somebody may leave meanwhile."""
    for name in place.members:
        place.greeted.append(name)


def greet_copy(place: Room | Hall) -> None:
    """Greet everyone who was there at the beginning."""
    for name in place.members.copy():
        place.greeted.append(name)


def leave_room(room: Room) -> None:
    """Take Ann out of the list."""
    room.members.remove("ann")


def leave_hall(hall: Hall) -> None:
    """Take Ann out of the dict."""
    del hall.members["ann"]


def greeted(place: Room | Hall) -> str:
    """Name those who were greeted."""
    return ", ".join(place.greeted)


# --- With a GIL ---


def bump(tally: Tally) -> None:
    """Add one to the tally; broken: a read and a write."""
    tally.count += 1


def bump_by_call(tally: Tally) -> None:
    """Add one to the tally; broken: a read, a call and a write."""
    tally.count = int(tally.count) + 1


def add_together(tally: Tally, meeting: threading.Barrier) -> None:
    """Add one to the tally; broken: waits between read and write."""
    seen = tally.count
    meeting.wait(LIMIT)
    tally.count = seen + 1


def lose_for_certain() -> int:
    """Add one in each of two threads; return the tally."""
    tally, meeting = Tally(), threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(add_together, tally, meeting) for _ in range(2)
        ]
    for future in both:
        future.result()
    return tally.count


# --- Without help: how often it shows ---

THREADS = 4
ROUNDS = 500_000
PLAIN = "x += 1"
CALLED = "x = int(x) + 1"

#: The program that is measured; each Python since 2.7 can run it.
PROGRAM = """\
import sys
import threading

x = 0


def add():
    global x
    for _ in range({rounds}):
        {statement}


threads = [threading.Thread(target=add) for _ in range({threads})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.stdout.write(str(x))
"""

_ASK = (
    "import sys; sys.stdout.write(sys.version.split()[0]"
    " + 't' * ('free-threading' in sys.version))"
)


class Lost(NamedTuple):
    """For one interpreter, the share of updates that each run lost."""

    version: str
    plain: tuple[float, ...]
    called: tuple[float, ...]


#: Recorded on 2026-11-28 with Linux on two cores of an x86_64 machine.
RECORDED = (
    Lost(
        "2.7.18",
        (0.575, 0.291, 0.365, 0.467, 0.264),
        (0.407, 0.401, 0.333, 0.602, 0.496),
    ),
    Lost(
        "3.6.15",
        (0.474, 0.039, 0.197, 0.411, 0.259),
        (0.501, 0.372, 0.493, 0.398, 0.597),
    ),
    Lost(
        "3.7.16",
        (0.051, 0.361, 0.206, 0.379, 0.171),
        (0.372, 0.375, 0.48, 0.577, 0.476),
    ),
    Lost(
        "3.8.18",
        (0.391, 0.489, 0.083, 0.313, 0.52),
        (0.312, 0.322, 0.551, 0.248, 0.478),
    ),
    Lost(
        "3.9.18",
        (0.439, 0.332, 0.196, 0.276, 0.231),
        (0.338, 0.556, 0.585, 0.263, 0.655),
    ),
    Lost(
        "3.10.13",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.523, 0.665, 0.524, 0.339, 0.615),
    ),
    Lost(
        "3.11.7",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.451, 0.403, 0.507, 0.457, 0.484),
    ),
    Lost(
        "3.12.1",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.37, 0.55, 0.396, 0.392, 0.393),
    ),
    Lost(
        "3.13.0",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.325, 0.556, 0.39, 0.448, 0.447),
    ),
    Lost(
        "3.14.10",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.498, 0.224, 0.367, 0.246, 0.272),
    ),
    Lost(
        "3.15.2",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.313, 0.257, 0.41, 0.316, 0.43),
    ),
    Lost(
        "3.13.15t",
        (0.501, 0.64, 0.747, 0.614, 0.745),
        (0.717, 0.671, 0.625, 0.638, 0.63),
    ),
)


def share_lost(
    statement: str,
    *,
    python: str = sys.executable,
    rounds: int = ROUNDS,
    interval: float | None = None,
) -> float:
    """Run the program in an interpreter; return the share it lost.

    ``interval`` is the switch interval in seconds, where it is to be
    another than the interpreter's own.
    """
    source = PROGRAM.format(
        rounds=rounds, statement=statement, threads=THREADS
    )
    if interval is not None:
        source = (
            f"import sys; sys.setswitchinterval({interval})\n{source}"
        )
    return 1 - int(_output(python, source)) / (THREADS * rounds)


def measure(
    python: str = sys.executable,
    runs: int = 5,
    rounds: int = ROUNDS,
) -> Lost:
    """Run both forms of the program several times in an interpreter."""
    plain, called = (
        tuple(
            round(share_lost(form, python=python, rounds=rounds), 3)
            for _ in range(runs)
        )
        for form in (PLAIN, CALLED)
    )
    return Lost(_output(python, _ASK), plain, called)


def _output(python: str, source: str) -> str:
    done = subprocess.run(
        [python, "-c", source],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return done.stdout


def rows(lost: Sequence[Lost]) -> list[dict[str, object]]:
    """Return a row for each interpreter, with the medians in per cent."""
    return [
        {
            "version": one.version,
            PLAIN: _in_words(one.plain),
            CALLED: _in_words(one.called),
        }
        for one in lost
    ]


def _in_words(shares: Sequence[float]) -> str:
    runs = sum(share > 0 for share in shares)
    if not runs:
        return f"0 of {len(shares)} runs"
    median = statistics.median(shares)
    return f"{runs} of {len(shares)} runs, median {median:.0%}"


def picture_of(recorded: Sequence[Lost], here: Lost) -> Picture:
    """Draw the shares of the recorded runs, and of this build's."""
    # Imported here: the scripts of this module need no matplotlib.
    from multithreading.lab.pictures import PALETTE, Picture, new_axes

    everyone = [*recorded, here]
    # this build's stands apart
    places = [*range(len(recorded)), len(recorded) + 0.4]
    figure, axes = new_axes(height=3.2)
    for side, form, colour in (
        (-0.2, PLAIN, PALETTE[1]),
        (0.2, CALLED, PALETTE[0]),
    ):
        runs = [
            one.plain if form == PLAIN else one.called
            for one in everyone
        ]
        axes.bar(
            [place + side for place in places],
            [100 * statistics.median(shares) for shares in runs],
            width=0.4,
            color=colour,
            edgecolor=["none"] * len(recorded) + ["black"],
            linewidth=2,
            label=form,
        )
        axes.scatter(
            [
                place + side
                for place, shares in zip(places, runs, strict=True)
                for _ in shares
            ],
            [100 * share for shares in runs for share in shares],
            s=9,
            color="black",
            zorder=3,
        )
    axes.set_xticks(
        places,
        [*(one.version for one in recorded), f"here:\n{here.version}"],
        rotation=45,
    )
    axes.set_ylabel("per cent of the updates lost")
    axes.set_ylim(0, 100)
    axes.legend(ncols=2)
    words = [
        "For each interpreter, the updates that were lost: "
        "bars for the median, dots for the runs."
    ]
    words += [
        f"{one.version}: {PLAIN}, {_in_words(one.plain)}; {CALLED}, "
        f"{_in_words(one.called)}."
        for one in everyone
    ]
    words.append("The last one, outlined, built this page.")
    return Picture(figure, " ".join(words))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure interpreters, and print what RECORDED keeps of them."""
    parser = argparse.ArgumentParser(prog="races")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser(
        "measure", help="count the updates that interpreters lose"
    )
    command.add_argument(
        "pythons",
        nargs="*",
        default=[sys.executable],
        metavar="PYTHON",
        help="an interpreter; this one if none is given",
    )
    for python in parser.parse_args(arguments).pythons:
        try:
            print(f"{measure(python)},")
        except (OSError, subprocess.SubprocessError, ValueError) as e:
            parser.exit(2, f"races: cannot measure {python}: {e}\n")


# --- Solutions ---


class Position:
    """Where a ship is; nobody reads half of an update."""

    def __init__(self, north: float, east: float) -> None:
        self._north, self._east = north, east
        self._lock = threading.Lock()

    def move(self, north: float, east: float) -> None:
        """Set both numbers."""
        with self._lock:
            self._north = north
            self._east = east

    def read(self) -> tuple[float, float]:
        """Return both numbers, as one thread set them."""
        with self._lock:
            return self._north, self._east


def drain(jobs: list[str], done: list[str]) -> None:
    """Do the jobs that are left, beside others who do the same."""
    while True:
        try:
            job = jobs.pop()
        except IndexError:
            return
        done.append(job)


if __name__ == "__main__":
    main()
