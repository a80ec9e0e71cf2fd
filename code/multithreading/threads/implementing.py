"""Ways to give a thread its work, and the ways that go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from multithreading.lab.recorder import Recorder, Span

T = TypeVar("T")


def count_words(
    text: str, counts: dict[str, int], *, name: str
) -> None:
    """Count the words of a text, and keep the number by name."""
    counts[name] = len(text.split())


def count_all(texts: Mapping[str, str]) -> dict[str, int]:
    """Count the words of each text in a thread of its own."""
    counts: dict[str, int] = {}
    threads = [
        threading.Thread(
            target=count_words,
            args=(text, counts),
            kwargs={"name": name},
        )
        for name, text in texts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


class Sampler(threading.Thread):
    """Takes a reading now and after each pause, until stopped."""

    def __init__(self, read: Callable[[], float], pause: float) -> None:
        super().__init__(name="sampler")
        self.read = read
        self.pause = pause
        self.readings: list[float] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        """Take the readings; the new thread executes this."""
        self.readings.append(self.read())
        while not self.stopping.wait(timeout=self.pause):
            self.readings.append(self.read())

    def stop(self) -> list[float]:
        """Tell the thread to end, wait, and give its readings."""
        self.stopping.set()
        self.join()
        return self.readings


class Stage(threading.Thread):
    """Records which thread each of its methods runs in."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        super().__init__(name=name)
        self.recorder = recorder
        with recorder.span("in __init__"):
            time.sleep(0.02)

    def run(self) -> None:
        """Take a while, on the record."""
        with self.recorder.span("in run"):
            time.sleep(0.05)


def on_stage(names: Sequence[str]) -> list[Span]:
    """Create the threads in turn, start them, join them."""
    recorder = Recorder()
    threads = [Stage(recorder, name) for name in names]
    for thread in threads:
        thread.start()
    with recorder.span("in join"):
        for thread in threads:
            thread.join()
    return recorder.spans


class Unheard(threading.Thread):
    """Broken: nothing ever calls a method named ``__run__``."""

    done = False

    def __run__(self) -> None:
        """Do the work that never begins."""
        self.done = True


class Heard(threading.Thread):
    """The same thread, with the name that ``start`` looks for."""

    done = False

    def run(self) -> None:
        """Do the work."""
        self.done = True


class Forgetful(threading.Thread):
    """Broken: never calls the ``__init__`` of ``Thread``."""

    def __init__(self, task: str) -> None:
        self.task = task


class Hasty(threading.Thread):
    """Broken: names the thread before ``Thread`` is set up."""

    def __init__(self, task: str) -> None:
        self.name = f"worker on {task}"
        super().__init__()
        self.task = task


class Careful(threading.Thread):
    """Calls the ``__init__`` of ``Thread`` first, then adds its own."""

    def __init__(self, task: str) -> None:
        super().__init__(name=f"worker on {task}")
        self.task = task


def capture_late(values: Iterable[int]) -> list[int]:
    """Broken: every lambda reads ``value`` when its thread runs."""
    seen: list[int] = []
    threads = []
    for value in values:
        work = lambda: seen.append(value)  # noqa: B023, E731
        threads.append(threading.Thread(target=work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


def capture_early(values: Iterable[int]) -> list[int]:
    """Hand each thread its value when the thread is created."""
    seen: list[int] = []
    threads = [
        threading.Thread(target=seen.append, args=(value,))
        for value in values
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


class Returning(threading.Thread, Generic[T]):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__()
        self.function = function
        self.returned: list[T] = []
        self.raised: BaseException | None = None

    def run(self) -> None:
        """Call the function, and keep its outcome."""
        try:
            self.returned.append(self.function())
        except BaseException as error:
            self.raised = error

    def result(self) -> T:
        """Wait for the end; return the value or raise the exception."""
        self.join()
        if self.raised is not None:
            raise self.raised
        return self.returned[0]


def threads_for(
    work: Callable[[T], object], items: Iterable[T]
) -> list[threading.Thread]:
    """Return a thread for each item, not started, to work on it."""
    return [
        threading.Thread(target=work, args=(item,)) for item in items
    ]
