"""Where one step of a thread ends and the next begins.

A step is a line, an access to what threads may share, a bytecode, or
the stretch between two places where a CPython with a GIL may switch.
"""

from __future__ import annotations

import ast
import dis
import inspect
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType
from typing import Any, Literal, get_args

StepKind = Literal["line", "access", "bytecode", "gil"]

#: What a thread is stopped before: called with the frame and a note.
Stop = Callable[[FrameType, str], None]


# --- Lines ---


@dataclass(frozen=True)
class Statement:
    """One statement of a source file, which is what a line step runs."""

    line: int
    #: False where nothing is computed, as in `pass` or `else`.
    acts: bool
    #: Whether its first line may be visited twice with nothing between.
    loop: bool
    #: The last line of what it encloses.
    end: int
    #: Whether it is a `with`, which is visited again to leave it.
    leaves: bool
    #: Whether it is a `def` or a `class`.
    defines: bool
    #: Whether, while it waits inside a call, all of its unfinished
    #: work can be told from the frames.
    plain: bool
    #: Whether it leaves behind what no local variable shows: the
    #: iterator of a loop, a context manager, a value being returned.
    hides: bool
    #: Whether it is a `for`, whose rounds no local variable may show.
    counts: bool


def _is_value(node: ast.expr | None) -> bool:
    """Tell whether an expression reads nothing that threads share."""
    match node:
        case None | ast.Constant() | ast.Name():
            return True
        case _:
            return False


def _is_fixed_range(node: ast.expr) -> bool:
    """Tell whether an expression is a range that is always the same."""
    match node:
        case ast.Call(func=ast.Name(id="range"), args=args):
            return all(
                isinstance(value, ast.Constant) for value in args
            )
        case _:
            return False


def _is_place(node: ast.expr) -> bool:
    """Tell whether an expression only names an object."""
    match node:
        case ast.Name():
            return True
        case ast.Attribute(value=value):
            return _is_place(value)
        case ast.Subscript(value=value, slice=index):
            return _is_place(value) and _is_value(index)
        case _:
            return False


def _is_plain_call(node: ast.expr | None) -> bool:
    match node:
        case ast.Call(func=func, args=args, keywords=keywords):
            given = [*args, *(word.value for word in keywords)]
            return _is_place(func) and all(map(_is_value, given))
        case _:
            return False


def _statement(node: ast.stmt, guarded: bool) -> Statement:
    match node:
        case ast.While(test=ast.Constant()) | ast.Try() | ast.TryStar():
            acts = False
        case ast.Return(value=value):
            acts = not (
                value is None or isinstance(value, ast.Constant)
            )
        case _:
            silent = (ast.Pass, ast.Break, ast.Continue)
            naming = (ast.Global, ast.Nonlocal)
            acts = not isinstance(node, silent + naming)
    plain = hides = False
    match node:
        case ast.Expr(value=value) | ast.Assign(value=value):
            plain = _is_plain_call(value)
        case ast.AnnAssign(value=value):
            plain = _is_plain_call(value)
        case ast.Return(value=value):
            plain = _is_plain_call(value)
            hides = guarded and not _is_value(value)
        case ast.With(items=items):
            plain = all(_is_place(i.context_expr) for i in items)
            hides = not plain
        case ast.For(iter=iterated):
            hides = not _is_fixed_range(iterated)
    return Statement(
        line=node.lineno,
        acts=acts,
        loop=isinstance(node, (ast.While, ast.For)),
        end=node.end_lineno or node.lineno,
        leaves=isinstance(node, ast.With),
        defines=isinstance(node, (ast.FunctionDef, ast.ClassDef)),
        plain=plain,
        hides=hides,
        counts=isinstance(node, ast.For),
    )


def _walk(
    body: list[ast.stmt], guarded: bool
) -> Iterator[tuple[int, int, Statement]]:
    """Yield the first and last line of each statement's own part."""
    for node in body:
        blocks: list[list[ast.stmt]] = [
            getattr(node, field, [])
            for field in ("body", "orelse", "finalbody")
        ]
        blocks += [h.body for h in getattr(node, "handlers", [])]
        blocks += [case.body for case in getattr(node, "cases", [])]
        inner = [child.lineno for block in blocks for child in block]
        last = min(inner) - 1 if inner else node.end_lineno
        first = node.lineno
        yield (
            first,
            max(first, last or first),
            _statement(node, guarded),
        )
        guards = isinstance(node, (ast.With, ast.Try))
        fresh = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        for block in blocks:
            yield from _walk(block, not fresh and (guarded or guards))


@cache
def statements(file: str) -> dict[int, Statement]:
    """Return the statement that each line of a file belongs to.

    Raises OSError where the file's source cannot be had.
    """
    source = "".join(linecache.getlines(file))
    if not source:
        raise OSError(f"no source of {file}")
    found: dict[int, Statement] = {}
    for first, last, statement in _walk(ast.parse(source).body, False):
        for line in range(first, last + 1):
            if line not in found or found[line].defines:
                found[line] = statement
    return found


@cache
def source_of(code: CodeType) -> tuple[int, list[str]]:
    """Return a function's first line, and its lines without indent."""
    lines, first = inspect.getsourcelines(code)
    while len(lines) > 1 and lines[0].lstrip().startswith("@"):
        del lines[0]
        first += 1
    text = textwrap.dedent("".join(lines)).rstrip()
    return first, text.split("\n")


def is_one_line(code: CodeType) -> bool:
    """Tell whether all of a function stands on one line."""
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return lines == {code.co_firstlineno}


# --- Instructions ---


def stored_globals(code: CodeType) -> set[str]:
    """Return the names of module variables that a function sets."""
    return {
        str(found.argval)
        for found in dis.get_instructions(code)
        if found.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    }


_READS = {
    "BINARY_SUBSCR",
    "BINARY_SLICE",
    "CONTAINS_OP",
    "STORE_SUBSCR",
    "STORE_SLICE",
    "DELETE_SUBSCR",
}
_WRITES = {"STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "STORE_DEREF"}
_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "CALL_FUNCTION"}
_ENTERS = _CALLS | {"BEFORE_WITH", "LOAD_SPECIAL", "WITH_EXCEPT_START"}


class Instructions:
    """What each instruction of the traced code is, for one kind of step.

    Names are shared if some function other than ``__init__`` stores
    them; what is made once and then only read is no step.
    """

    def __init__(self, codes: Iterable[CodeType]) -> None:
        self._stored: set[str] = set()
        self._known: dict[CodeType, dict[int, dis.Instruction]] = {}
        for code in codes:
            table = {i.offset: i for i in dis.get_instructions(code)}
            self._known[code] = table
            if code.co_name != "__init__":
                self._stored |= {
                    str(i.argval)
                    for i in table.values()
                    if i.opname in _WRITES
                }

    def at(self, code: CodeType, offset: int) -> dis.Instruction:
        """Return the instruction at an offset."""
        if code not in self._known:
            table = {i.offset: i for i in dis.get_instructions(code)}
            self._known[code] = table
        return self._known[code][offset]

    def access(self, found: dis.Instruction) -> str:
        """Say what the instruction does to what is shared, or ''."""
        name, value = found.opname, str(found.argval)
        if name in _WRITES:
            return f"writes {value}" if value in self._stored else ""
        if name in ("LOAD_GLOBAL", "LOAD_DEREF"):
            return f"reads {value}" if value in self._stored else ""
        if name in ("LOAD_ATTR", "LOAD_METHOD"):
            if value in self._stored:
                return f"reads {value}"
            called = name == "LOAD_METHOD" or (
                # since 3.12 the lowest bit tells such a load
                sys.version_info >= (3, 12)
                and bool((found.arg or 0) & 1)
            )
            return f"calls {value}" if called else ""
        # since 3.14 an operator like any other, told by its name alone
        subscripts = name == "BINARY_OP" and found.argrepr == "[]"
        if name in _READS or subscripts:
            return "writes an item" if "E_" in name else "reads an item"
        return ""


# --- The stops ---


class Tracer:
    """Stops the threads that ask for it before each of their steps.

    ``stop`` is called in the thread itself, with the frame and a note
    on what the step does; while it waits, the thread waits. Through
    ``sys.monitoring`` from 3.12 on: tracing instructions by
    ``sys.settrace`` crashes 3.12.1 and hangs 3.13.0.
    """

    def __init__(
        self, codes: set[CodeType], kind: StepKind, stop: Stop
    ) -> None:
        if kind not in get_args(StepKind):
            raise ValueError(
                f"no steps of the kind {kind!r}; there are "
                f"{', '.join(get_args(StepKind))}"
            )
        self.codes = codes
        self.kind = kind
        self._stop = stop
        self._instructions = Instructions(codes)
        #: For each frame its last statement, or its last instruction.
        self._last: dict[FrameType, Any] = {}
        #: The frames that have stopped for the call they are about to make.
        self._stopped: set[FrameType] = set()

    def forget(self) -> None:
        """Forget the frames of a run that is over."""
        self._last.clear()
        self._stopped.clear()

    def lock(self, frame: FrameType | None, note: str) -> None:
        """Stop before a lock is used: it is an access like any other.

        An instruction that calls the standard library stops once,
        however many locks are used in there.
        """
        while frame is not None and frame.f_code not in self.codes:
            frame = frame.f_back
        if (
            self.kind == "access"
            and frame is not None
            and frame not in self._stopped
        ):
            self._stopped.add(frame)
            self._stop(frame, note)

    def line(self, frame: FrameType, line: int) -> None:
        """Stop before a line, unless it goes on with the last."""
        statement = statements(frame.f_code.co_filename).get(line)
        if statement is None:
            return
        last: Statement | None = self._last.get(frame)
        if last is statement and not (
            statement.loop and line == statement.line
        ):
            return
        self._last[frame] = statement
        if statement.acts:
            again = (
                statement.leaves
                and last is not None
                and statement.line < last.line <= statement.end
            )
            self._stop(frame, "leaves" if again else "")

    def instruction(self, frame: FrameType, offset: int) -> None:
        """Stop before an instruction, if it begins a step."""
        found = self._instructions.at(frame.f_code, offset)
        before: dis.Instruction | None = self._last.get(frame)
        self._last[frame] = found
        if before is not None and before.opname in _ENTERS:
            self._stopped.discard(frame)
        if self.kind == "bytecode":
            if found.opname not in ("RESUME", "CACHE", "NOP"):
                self._stop(frame, found.opname)
        elif self.kind == "access":
            if note := self._instructions.access(found):
                if note.startswith("calls"):
                    self._stopped.add(frame)
                self._stop(frame, note)
        elif before is None:
            self._stop(frame, "begins")
        elif found.opname == "JUMP_BACKWARD":
            self._stop(frame, "jumps back")
        elif before.opname in _CALLS:
            self._stop(frame, "after a call")

    if sys.version_info >= (3, 12):
        _TOOL = 4

        def __enter__(self) -> Tracer:
            monitoring = sys.monitoring
            self._events = (
                monitoring.events.LINE
                if self.kind == "line"
                else monitoring.events.INSTRUCTION
            )
            handle = (
                self._line_event
                if self.kind == "line"
                else self._instruction_event
            )
            monitoring.use_tool_id(self._TOOL, "schedules")
            monitoring.register_callback(
                self._TOOL, self._events, handle
            )
            start = monitoring.events.PY_START
            monitoring.register_callback(
                self._TOOL, start, self._start_event
            )
            for code in self.codes:
                # A function on the line of its `def` has no line event.
                one_line = self.kind == "line" and is_one_line(code)
                monitoring.set_local_events(
                    self._TOOL,
                    code,
                    start if one_line else self._events,
                )
            return self

        def __exit__(self, *_: object) -> None:
            monitoring = sys.monitoring
            for code in self.codes:
                monitoring.set_local_events(self._TOOL, code, 0)
            for event in (self._events, monitoring.events.PY_START):
                monitoring.register_callback(self._TOOL, event, None)
            monitoring.free_tool_id(self._TOOL)

        def _start_event(self, code: CodeType, _at: int) -> None:
            self.line(sys._getframe(1), code.co_firstlineno)

        def _line_event(self, _code: CodeType, line: int) -> None:
            self.line(sys._getframe(1), line)

        def _instruction_event(self, _code: CodeType, at: int) -> None:
            self.instruction(sys._getframe(1), at)

        def attach(self) -> None:
            """Stop the calling thread: nothing to do, events are global."""

        def detach(self) -> None:
            """Let the calling thread run: nothing to do."""

    else:

        def __enter__(self) -> Tracer:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def _global(
            self, frame: FrameType, _event: str, _arg: object
        ) -> Any:
            if frame.f_code not in self.codes:
                return None
            if self.kind != "line":
                frame.f_trace_opcodes = True
                frame.f_trace_lines = False
            return self._local

        def _local(
            self, frame: FrameType, event: str, _arg: object
        ) -> Any:
            if event == "line":
                self.line(frame, frame.f_lineno)
            elif event == "opcode":
                self.instruction(frame, frame.f_lasti)
            # On return the interpreter writes `f_locals` back, closure
            # cells too: refreshed, it undoes nothing that others did.
            frame.f_locals  # noqa: B018
            return self._local

        def attach(self) -> None:
            """Stop the calling thread before each of its steps."""
            sys.settrace(self._global)

        def detach(self) -> None:
            """Let the calling thread run."""
            sys.settrace(None)
