"""What a program calls a lock, found where the lock is made."""

from __future__ import annotations

import ast
import linecache
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import islice
from types import CodeType, FrameType
from typing import NamedTuple

#: How many calls outwards the name of a new lock is looked for.
_DEPTH = 5

#: A name, or the place of a call: its code, and the instruction.
_Place = str | tuple[CodeType, int]


class Making(NamedTuple):
    """How a lock is made."""

    #: From the inside outwards, without the standard library's places:
    #: a queue's lock is made where the queue is.
    places: Sequence[_Place]
    #: Whether it is a part of something else, such as a queue.
    part: bool


#: What makes a lock for those who ask for one.
_MAKERS = {
    threading.Condition.__init__.__code__,
    threading._PyRLock.__init__.__code__,  # type: ignore[attr-defined]
}


def making(frame: FrameType | None, own: str) -> Making:
    """Return how a lock is made, from the call that makes it.

    Calls of the module ``own``, which stands between, are left out.
    """
    places: list[_Place] = []
    part = False
    while frame is not None and len(places) < _DEPTH:
        code, module = frame.f_code, frame.f_globals.get("__name__", "")
        if code is threading.Thread.__init__.__code__:
            return Making([], part=True)
        if module.partition(".")[0] in sys.stdlib_module_names:
            part = part or (not places and code not in _MAKERS)
        elif module != own:
            places.append(_field(frame) or (code, frame.f_lasti))
        frame = frame.f_back
    return Making(places, part)


def _field(frame: FrameType) -> str:
    """Return which field of its object a dataclass is just setting."""
    if frame.f_code.co_filename == "<string>":
        made = frame.f_locals.get("self")
        if is_dataclass(made):
            for field in fields(made):
                if not hasattr(made, field.name):
                    return field.name
    return ""


def named(places: Sequence[_Place]) -> str:
    """Return what a lock is assigned to, here or where it is returned."""
    for place in places:
        if isinstance(place, str):
            return place
        name = _target(*place)
        if name is not None:
            return name
    return ""


def _target(code: CodeType, instruction: int) -> str | None:
    """Return the name that a call's result is given; None if returned."""
    positions = code.co_positions()
    line, _, column, _ = next(islice(positions, instruction // 2, None))
    if line is None or column is None:  # Python was told to keep none
        return ""
    found: str | None = ""
    for value, name in _values(code.co_filename):
        end = value.end_lineno, value.end_col_offset
        if (value.lineno, value.col_offset) <= (line, column) < end:
            found = name
    return found


@cache
def _values(file: str) -> list[tuple[ast.expr, str | None]]:
    """Return what a file assigns or returns, the inner ones last."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # a notebook's own commands
        return []
    found: list[tuple[ast.expr, str | None]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Return(value=ast.expr() as value):
                found.append((value, None))
            case ast.Lambda():
                found.append((node.body, None))
            case ast.Assign(
                targets=[ast.Tuple() as all_],
                value=ast.Tuple() as values,
            ):
                found += [
                    (v, _said(n))
                    for n, v in zip(
                        all_.elts, values.elts, strict=False
                    )
                ]
            case ast.Assign(targets=[target, *_], value=value):
                found.append((value, _said(target)))
            case (
                ast.AnnAssign(value=ast.expr() as value)
                | ast.NamedExpr(value=value)
            ):
                found.append((value, _said(node.target)))
    return found


def _said(target: ast.expr) -> str:
    match target:
        case ast.Attribute():
            return target.attr
        case ast.Subscript():
            return _said(target.value)
        case _:
            return ast.unparse(target).strip("()")


def counted(names: Iterable[str]) -> Iterator[str]:
    """Yield the names; number those that were there before."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        count = seen[name]
        yield f"{name} ({count})" if name and count > 1 else name
