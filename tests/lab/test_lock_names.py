import threading
from dataclasses import dataclass, field
from threading import Lock
from types import SimpleNamespace

from multithreading.lab import lock_names as module
from multithreading.lab.timeline import record


@dataclass
class Bank:
    size: int = 3
    mine: threading.Lock = field(default_factory=threading.Lock)
    yours: threading.Lock = field(default_factory=threading.RLock)
    forks: list[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(2)]
    )


@dataclass(frozen=True, slots=True)
class Sealed:
    inner: threading.Lock = field(default_factory=threading.Lock)


class Box:
    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.changed: threading.Condition = threading.Condition()


def make_lock():
    return threading.Lock()


def name(lock):
    lock = getattr(lock, "_block", lock)  # of an RLock
    return lock.observer.names()[lock.number]


def test_locks_have_the_names_of_what_they_are_assigned_to():
    with record():
        alone = threading.Lock()
        left, right = threading.Lock(), threading.Lock()
        split = (
            threading.Lock()  #
        )
        bank, sealed, box, made = Bank(), Sealed(), Box(), make_lock()
        row = [threading.Lock() for _ in range(2)]
        reentrant = threading.RLock()
        imported = Lock()
        table = {}
        table["key"] = threading.Lock()
        locks = [
            *(alone, left, right, split, bank.mine, bank.yours),
            *(*bank.forks, sealed.inner, box.guard, made, *row),
            *(reentrant, imported, table["key"]),
        ]
        names = [name(lock) for lock in locks]
    assert names == [
        *("alone", "left", "right", "split", "mine", "yours"),
        *("forks", "forks (2)", "inner", "guard", "made", "row"),
        *("row (2)", "reentrant", "imported", "table"),
    ]


def test_a_name_is_looked_for_a_few_calls_outwards():
    def two():
        return make_lock()

    def three():
        return two()

    def four():
        return three()

    def five():
        return four()

    with record():
        near, far = four(), five()
        names = [name(near), name(far)]
    assert names == ["near", ""]


def test_no_name_is_found_where_there_is_none(tmp_path):
    code = SimpleNamespace(
        co_filename=str(tmp_path / "program.py"),
        # so it is for python -X no_debug_ranges
        co_positions=lambda: iter([(1, 1, None, None)]),
    )
    (tmp_path / "program.py").write_text("lock = make()\n")
    assert module._target(code, 0) == ""
    (tmp_path / "notebook.py").write_text("%time\n")
    assert module._values(str(tmp_path / "notebook.py")) == []
