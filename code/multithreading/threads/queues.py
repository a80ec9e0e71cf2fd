"""The queue: what it promises, how long it may get, and how it ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from queue import Empty, Queue
from typing import Any, NamedTuple, TypeVar

from multithreading.lab.pictures import (
    PALETTE,
    Picture,
    new_axes,
    styled,
)

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):  # noqa: N818
        """Raised by nobody: queues can be shut down since 3.13."""


T = TypeVar("T")

#: Put into a queue, it says that no more will come.
END = None


# --- From one thread to another ---


@dataclass
class Album:
    """The photos to be shrunk, and what became of them."""

    queue: Queue[Any] = field(default_factory=Queue)
    small: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def find_photos(album: Album) -> None:
    """Put each photo into the queue, and after the last the end."""
    for photo in ["cat", "dog"]:
        album.queue.put(photo)
    album.queue.put(END)


def shrink_photos(album: Album) -> None:
    """Shrink each photo, in the order in which they were found."""
    while (photo := album.queue.get()) is not END:
        album.small.append(photo)


# --- Looking before taking ---


def one_photo() -> Album:
    """Return an album in which one photo waits, and no end."""
    album = Album()
    album.queue.put("cat")
    return album


def shrink_if_any(album: Album) -> None:
    """Shrink a photo if there is one; broken: asks, then takes."""
    if not album.queue.empty():
        photo = album.queue.get()
        album.small.append(photo)


def shrink_or_go(album: Album) -> None:
    """Shrink a photo if there is one; taking it is the question."""
    try:
        photo = album.queue.get_nowait()
    except Empty:
        return
    album.small.append(photo)


# --- How long a queue may get ---


class Taken(NamedTuple):
    """An item as it leaves the queue."""

    #: Seconds since it was made.
    age: float
    #: How many items are left behind it.
    behind: int


def make(queue: Queue[float | None], count: int) -> None:
    """Put ``count`` items, each the moment of its making."""
    for _ in range(count):
        queue.put(time.perf_counter())
    queue.put(END)


def use(
    queue: Queue[float | None], pause: float, taken: list[Taken]
) -> None:
    """Take each item, and be busy with it for ``pause`` seconds."""
    while (made := queue.get()) is not END:
        age = time.perf_counter() - made
        taken.append(Taken(age, queue.qsize()))
        time.sleep(pause)


def flow(
    maxsize: int, count: int = 40, pause: float = 0.002
) -> list[Taken]:
    """Make items faster than they are used; return them as taken."""
    queue: Queue[float | None] = Queue(maxsize)
    taken: list[Taken] = []
    threads = [
        threading.Thread(
            target=make, name="maker", args=(queue, count)
        ),
        threading.Thread(
            target=use, name="user", args=(queue, pause, taken)
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def picture_of_ages(flows: Mapping[str, list[Taken]]) -> Picture:
    """Draw how old each item was when it was taken, for each flow."""
    figure, axes = new_axes()
    with styled():
        looks = zip(flows.items(), PALETTE, "os", strict=False)
        for (name, taken), colour, mark in looks:
            axes.plot(
                range(1, len(taken) + 1),
                [1000 * item.age for item in taken],
                color=colour,
                marker=mark,
                markersize=3,
                label=name,
            )
        axes.set_xlabel("item")
        axes.set_ylabel("age when taken, in ms")
        axes.legend()
        axes.grid(alpha=0.3)
    told = "; ".join(
        f"with {name} the first item is {1000 * taken[0].age:.0f} ms "
        f"old when it is taken, the last {1000 * taken[-1].age:.0f} ms"
        for name, taken in flows.items()
    )
    return Picture(figure, f"A line for each queue: {told}.")


# --- Another order ---


@dataclass(order=True)
class Job:
    """Work in a priority queue; the lowest priority comes first."""

    priority: int
    #: Of equal priorities, the one with the lower number comes first.
    number: int
    work: Callable[[], object] = field(compare=False)


# --- Waiting until the work is done ---


def shrink(photo: str) -> str:
    """Return the small form of a photo.

    Raises ValueError where the file is damaged.
    """
    if photo == "damaged":
        raise ValueError("not a photo")
    return f"small {photo}"


def two_photos() -> Album:
    """Return an album with two photos, of which one is damaged."""
    album = Album()
    album.queue.put("damaged")
    album.queue.put("cat")
    return album


def wait_for_all(album: Album) -> None:
    """Wait until each photo has been taken, and told to be done."""
    album.queue.join()


def shrink_untold(album: Album) -> None:
    """Shrink two photos; broken: tells nobody that they are done."""
    for _ in range(2):
        photo = album.queue.get()
        album.small.append(photo)


def shrink_fragile(album: Album) -> None:
    """Shrink two photos; broken: an error passes by `task_done`."""
    for _ in range(2):
        album.small.append(shrink(album.queue.get()))
        album.queue.task_done()


def shrink_counted(album: Album) -> None:
    """Shrink two photos; tell of each that it is done, or failed."""
    for _ in range(2):
        photo = album.queue.get()
        try:
            album.small.append(shrink(photo))
        except ValueError:
            album.failed.append(photo)
        finally:
            album.queue.task_done()


# --- The end ---


def one_end() -> Album:
    """Return an album with a photo and one end; broken for two."""
    album = one_photo()
    album.queue.put(END)
    return album


def two_ends() -> Album:
    """Return an album with a photo and an end for each of two."""
    album = one_end()
    album.queue.put(END)
    return album


def finish(queue: Queue[Any]) -> None:
    """Say that no more will come; what is there is still taken."""
    if sys.version_info >= (3, 13):
        queue.shutdown()
    else:
        queue.put(END)


def next_item(queue: Queue[T | None]) -> T | None:
    """Wait for an item; return END where no more will come."""
    try:
        item = queue.get()
    except ShutDown:
        return END
    if item is END:
        queue.put(END)  # the next consumer has to see it, too
    return item


def shrink_to_the_end(album: Album) -> None:
    """Shrink each photo until the queue is finished."""
    while True:
        photo = next_item(album.queue)
        if photo is END:
            break
        album.small.append(photo)


def wait_for_end(album: Album) -> None:
    """Wait for an item, and find that there is none."""
    assert next_item(album.queue) is END


def close_album(album: Album) -> None:
    """Say that no more photos will come."""
    finish(album.queue)


# --- One queue after another ---


@dataclass
class Failure:
    """Travels in the place of an item on which a stage has failed."""

    item: object
    error: BaseException


def run_stage(
    work: Callable[[Any], object],
    source: Queue[Any],
    target: Queue[Any],
) -> None:
    """Work on each item; hand on results, failures and the end."""
    while (item := source.get()) is not END:
        if not isinstance(item, Failure):
            try:
                item = work(item)
            except BaseException as error:
                item = Failure(item, error)
        target.put(item)
    target.put(END)


def feed(items: Iterable[object], target: Queue[Any]) -> None:
    """Put each item, and the end, also where the items break off."""
    try:
        for item in items:
            target.put(item)
    finally:
        target.put(END)


def pipeline(
    items: Iterable[object],
    *works: Callable[[Any], object],
    maxsize: int = 2,
) -> list[object]:
    """Send items through all the works, each with a thread of its own.

    Return the results, and a Failure for each item that has none, in
    the order of the items. Raises what ``items`` raises.
    """
    queues: list[Queue[Any]] = [
        Queue(maxsize) for _ in range(1 + len(works))
    ]
    with ThreadPoolExecutor(1 + len(works)) as pool:
        fed = pool.submit(feed, items, queues[0])
        for work, (source, target) in zip(
            works, pairwise(queues), strict=True
        ):
            pool.submit(run_stage, work, source, target)
        results = list(iter(queues[-1].get, END))
    fed.result()
    return results


@dataclass
class Line:
    """A stage with a queue of one place on either side of it."""

    source: Queue[int] = field(default_factory=lambda: Queue(1))
    target: Queue[int] = field(default_factory=lambda: Queue(1))
    results: list[int] = field(default_factory=list)


def hand_on(line: Line) -> None:
    """Be the stage: take each of four numbers, and hand it on."""
    for _ in range(4):
        number = line.source.get()
        line.target.put(number)


def put_all(line: Line) -> None:
    """Put four numbers."""
    for number in range(4):
        line.source.put(number)


def collect_all(line: Line) -> None:
    """Collect four numbers."""
    for _ in range(4):
        number = line.target.get()
        line.results.append(number)


def put_then_collect(line: Line) -> None:
    """Put all, then collect; broken: nobody collects meanwhile."""
    put_all(line)
    collect_all(line)


# --- Solutions ---


def drain(queue: Queue[T]) -> list[T]:
    """Return all that is in the queue, without waiting for more."""
    items = []
    while True:
        try:
            items.append(queue.get_nowait())
        except Empty:
            return items


def consume(
    queue: Queue[Any], work: Callable[[Any], object]
) -> list[Exception]:
    """Work on each item up to the end; return what went wrong.

    Each item that is taken, and the end, is told to be done.
    """
    errors: list[Exception] = []
    while True:
        item = queue.get()
        try:
            if item is END:
                return errors
            work(item)
        except Exception as error:
            errors.append(error)
        finally:
            queue.task_done()
