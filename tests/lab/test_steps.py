"""Where one step of a thread ends and the next begins."""

import dis
import threading
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest

from multithreading.lab.schedules import Program, replay
from multithreading.lab.steps import (
    Instructions,
    Tracer,
    is_one_line,
    source_of,
    statements,
    stored_globals,
)

FLAGS = ["acts", "loop", "leaves", "defines"]
FLAGS += ["plain", "hides", "counts"]


@pytest.fixture
def file(tmp_path):
    """Write a source file; return its name."""

    def write(text):
        path = tmp_path / "source.py"
        path.write_text(text)
        return str(path)

    return write


# --- Statements ---


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("pass", ""),
        ("break", ""),
        ("continue", ""),
        ("global x", ""),
        ("nonlocal x", ""),
        ("return", ""),
        ("return 1", ""),
        ("return x", "acts"),
        ("return f()", "acts plain"),
        ("x = 1", "acts"),
        ("x = f()", "acts plain"),
        ("x = f(1, a=y)", "acts plain"),
        ("x = f(g())", "acts"),
        ("x = f(a.b)", "acts"),
        ("x = f(a=a.b)", "acts"),
        ("x += f()", "acts"),
        ("x: int", "acts"),
        ("x: int = f()", "acts plain"),
        ("f()", "acts plain"),
        ("f().g()", "acts"),
        ("a.b[0].c()", "acts plain"),
        ("a[b.c]()", "acts"),
        ("a()[0]()", "acts"),
        ("if x: pass", "acts"),
        ("while x: pass", "acts loop"),
        ("while True: pass", "loop"),
        ("try: pass\nexcept E: pass", ""),
        ("try: pass\nexcept* E: pass", ""),
        ("with a: pass", "acts leaves plain"),
        ("with a.b, c[0]: pass", "acts leaves plain"),
        ("with a, b(): pass", "acts leaves hides"),
        ("for x in y: pass", "acts loop hides counts"),
        ("for x in range(1, 3): pass", "acts loop counts"),
        ("for x in range(1, n): pass", "acts loop hides counts"),
        ("for x in items(3): pass", "acts loop hides counts"),
        ("def f():\n    pass", "acts defines"),
        ("class A:\n    pass", "acts defines"),
        # on one line with its body, which is what runs
        ("def f(): return x", "acts"),
    ],
)
def test_what_a_statement_does(text, flags, file):
    found = statements(file(text))[1]
    assert [f for f in FLAGS if getattr(found, f)] == flags.split()


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("with a:\n    return f()", True),
        ("try:\n    return f()\nfinally:\n    pass", True),
        ("with a:\n    if b:\n        return f()", True),
        ("with a:\n    return x", False),
        ("if b:\n    return f()", False),
        ("with a:\n    def g():\n        return f()", False),
        ("def g():\n    with a:\n        return f()", True),
    ],
)
def test_a_value_that_is_being_returned_is_hidden(text, hides, file):
    number = text[: text.index("return")].count("\n") + 1
    assert statements(file(text))[number].hides is hides


LINES = """\
if (a or
        b):
    c = 1
else:
    d = (
        2)
match x:
    case 1:
        e
    case 2:
        f
try:
    g
except E:
    h
else:
    i
finally:
    j
"""


def test_the_lines_of_each_statement(file):
    found = statements(file(LINES))
    assert {line: s.line for line, s in found.items()} == {
        **{1: 1, 2: 1, 3: 3, 5: 5, 6: 5},
        **{7: 7, 8: 7, 9: 9, 11: 11},
        **{12: 12, 13: 13, 15: 15, 17: 17, 19: 19},
    }
    assert [found[line].end for line in (1, 3, 5, 7, 12)] == [
        *(6, 3, 6, 11, 19)
    ]
    # they are kept for all who ask
    with pytest.raises(FrozenInstanceError):
        found[1].line = 2  # type: ignore[misc]


def test_a_file_without_source_is_told(tmp_path):
    with pytest.raises(OSError, match="no source of"):
        statements(str(tmp_path / "none.py"))


def given(function):
    return lambda other: (function, other)


@staticmethod
@staticmethod
def decorated():
    return 1


@staticmethod
def stub(): ...


def test_the_source_of_a_function_begins_at_its_name():
    code = decorated.__wrapped__.__wrapped__.__code__
    first, lines = source_of(code)
    assert first == code.co_firstlineno + 2
    assert lines == ["def decorated():", "    return 1"]
    code = stub.__wrapped__.__code__
    assert source_of(code)[1] == ["def stub(): ..."]


def test_a_function_on_one_line():
    assert is_one_line((lambda: 1).__code__)
    assert not is_one_line(given.__code__)


# --- Instructions ---

TOTAL = GONE = 0


def setting():
    global TOTAL, GONE
    TOTAL = TOTAL + 1
    del GONE


def test_the_module_variables_that_a_function_sets():
    assert stored_globals(setting.__code__) == {"TOTAL", "GONE"}
    assert stored_globals(given.__code__) == set()


class Kept:
    def __init__(self):
        self.fixed = 1

    def read(self):
        return self.fixed


def storing(thing, at):
    thing.count = thing.count + 1
    thing.items.append(thing[at])
    thing[at] = at in thing
    del thing[at]
    del thing.count


def outer(number):
    def inner():
        nonlocal number
        number = number + 1

    return inner


@pytest.mark.parametrize(
    ("code", "notes"),
    [
        (Kept.__init__.__code__, []),
        (Kept.read.__code__, []),
        (
            storing.__code__,
            [
                *("reads count", "writes count"),
                *("calls append", "reads an item"),
                *("reads an item", "writes an item"),
                *("writes an item", "writes count"),
            ],
        ),
        (outer(1).__code__, ["reads number", "writes number"]),
        (setting.__code__, ["reads TOTAL", "writes TOTAL"]),
    ],
    ids=lambda code: getattr(code, "co_name", None),
)
def test_what_an_instruction_does_to_what_is_shared(code, notes):
    known = Instructions([code])
    found = map(known.access, dis.get_instructions(code))
    assert list(filter(None, found)) == notes


@pytest.mark.parametrize(
    ("operator", "note"), [("[]", "reads an item"), ("+=", "")]
)
def test_an_operator_is_told_by_its_name(operator, note):
    as_in_3_14 = SimpleNamespace(
        opname="BINARY_OP", arg=26, argval=26, argrepr=operator
    )
    assert Instructions([]).access(as_in_3_14) == note


def test_an_instruction_of_any_function():
    code = storing.__code__
    known = Instructions([])
    for found in dis.get_instructions(code):
        assert known.at(code, found.offset).opname == found.opname


# --- Stops ---


class Frame:
    """Stands in for a frame of a function in a file."""

    def __init__(self, code, back=None):
        self.f_code = code
        self.f_back = back


WITH = """\
for a in b:
    with c:
        d = (1,
             2)
        e
while (f and
       g):
    pass
"""


def test_a_stop_before_each_statement(file):
    notes = []
    tracer = Tracer(set(), "line", lambda _, note: notes.append(note))
    frame = Frame(SimpleNamespace(co_filename=file(WITH)))
    lines = [
        *((1, [""]), (2, [""]), (3, [""]), (4, []), (5, [""])),
        *((2, ["leaves"]), (1, [""]), (1, [""]), (2, [""]), (2, [])),
        *((3, [""]), (2, ["leaves"]), (1, [""]), (99, [])),
        *((6, [""]), (7, []), (8, []), (6, [""]), (6, [""])),
    ]
    for line, expected in lines:
        notes.clear()
        tracer.line(frame, line)
        assert (line, notes) == (line, expected)


def test_a_lock_is_stopped_for_once_in_a_call():
    stops = []
    mine, library = object(), object()
    outside = Frame(library)
    frame = Frame(mine, outside)
    inside = Frame(library, Frame(library, frame))
    for kind, expected in (("access", [(frame, "note")]), ("line", [])):
        tracer = Tracer(set(), kind, lambda *stop: stops.append(stop))
        tracer.codes = {mine}
        for _ in range(2):
            stops.clear()
            tracer.lock(outside, "note")
            tracer.lock(None, "note")
            tracer.lock(inside, "note")
            tracer.lock(frame, "note")
            assert stops == expected
            tracer.forget()


def stops_of(function, kind, *given):
    """Return the notes of the stops in one call of a function."""
    notes = []
    code = function.__code__
    tracer = Tracer({code}, kind, lambda _, note: notes.append(note))
    with tracer:
        tracer.attach()
        try:
            function(*given)
        finally:
            tracer.detach()
    return notes


def looping(items):
    for item in items:
        len(item)


def adding(thing):
    thing.count += 1


def test_the_gil_may_switch_at_the_start_after_calls_and_in_loops():
    again = ["after a call", "jumps back"]
    assert stops_of(looping, "gil", ["", ""]) == [
        *("begins", *again, *again),
    ]


def test_each_instruction_is_a_step():
    found = stops_of(adding, "bytecode", SimpleNamespace(count=1))
    names = [i.opname for i in dis.get_instructions(adding)]
    assert found == [n for n in names if n not in ("RESUME", "CACHE")]


def test_each_access_is_a_step():
    found = stops_of(adding, "access", SimpleNamespace(count=1))
    assert found == ["reads count", "writes count"]


def test_each_line_is_a_step():
    assert stops_of(looping, "line", ["", ""]) == [""] * 5


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        ("line", [""]),
        ("gil", ["begins", "after a call", "after a call"]),
        ("access", ["calls pop", "reads an item"]),
    ],
)
def test_a_function_on_one_line_has_every_kind_of_step(kind, notes):
    found = stops_of(lambda d: len(d.pop()[0]), kind, [["a"]])
    assert found == notes


def within(lock):
    with lock:
        pass
    lock.acquire()
    lock.release()


def test_each_use_of_a_lock_is_a_step():
    program = Program([within], threading.Lock)
    steps = replay(program, "AAAA", "access").steps
    assert [text for _, text in steps] == [
        "with lock: (acquires a lock)",
        "with lock: (releases a lock)",
        "lock.acquire() (calls acquire)",
        "lock.release() (calls release)",
    ]
