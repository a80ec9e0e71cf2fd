"""What a program's threads can reach: their code, and what they share."""

from __future__ import annotations

import linecache
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property, partial
from pathlib import Path
from types import (
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any

from multithreading.lab.controller import attributes, of_library

_MACHINERY = {
    str(Path(__file__).with_name(f"{name}.py"))
    for name in ("controller", "reach", "schedules", "states", "steps")
}
_LIBRARIES = tuple(
    sysconfig.get_path(name)
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


_EMPTY = CellType()


@cache
def is_traced(file: str) -> bool:
    """Tell whether a file is the program's own, with its source at hand.

    The standard library and installed packages are not, nor the modules
    that run the schedules, nor the methods that a dataclass is given:
    these say that they come from ``<string>``, as ``python -c`` does,
    whose source is at hand from 3.13 on.
    """
    if file.startswith(_LIBRARIES) or file in {*_MACHINERY, "<string>"}:
        return False
    return bool(linecache.getlines(file))


class Reach:
    """All that can be reached from some functions and objects.

    ``codes`` is the program's own code. ``variables`` holds, by name, a
    call for the present value of each module variable and closure that
    it names, apart from functions, classes and modules.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self.codes: set[CodeType] = set()
        self.variables: dict[str, Callable[[], Any]] = {}
        self._seen: dict[int, object] = {}
        waiting = list(roots)
        while waiting:
            value = waiting.pop()
            if id(value) not in self._seen:
                self._seen[id(value)] = value
                waiting += self._inside(value)

    def _inside(self, value: Any) -> Iterator[object]:
        match value:
            case CodeType():
                self.codes.add(value)
                yield from (c for c in value.co_consts if _is_code(c))
            case FunctionType():
                yield getattr(value, "__wrapped__", None)
                if is_traced(value.__code__.co_filename):
                    yield value.__code__
                    yield from self._named(value)
                else:
                    yield from (get() for _, get in _closure(value))
            case MethodType():
                yield from (value.__func__, value.__self__)
            case property():
                yield from (value.fget, value.fset, value.fdel)
            case staticmethod() | classmethod():
                yield value.__func__
            case partial() | cached_property():
                yield value.func
            case type():
                if not of_library(value):
                    yield from value.__bases__
                    yield from (
                        item
                        for name, item in vars(value).items()
                        # since 3.14 a function, which nobody calls
                        if not name.startswith("__annotate")
                    )
            case list() | tuple() | deque() | set() | frozenset():
                yield from value
            case dict():
                yield from value.values()
            case ModuleType():
                return
            case _ if not of_library(type(value)):
                yield type(value)
                yield from attributes(value).values()

    def _named(self, function: FunctionType) -> Iterator[object]:
        """Yield the variables that a function, or one in it, names."""
        names: set[str] = set()
        codes = [function.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes += filter(_is_code, code.co_consts)
        globals_ = function.__globals__
        found: list[tuple[str, Callable[[], Any]]] = [
            (name, partial(globals_.get, name))
            for name in sorted(names)
            if name in globals_
        ]
        for name, get in [*found, *_closure(function)]:
            value = get()
            yield value
            if not callable(value) and not isinstance(
                value, ModuleType
            ):
                self.variables[name] = get


def _is_code(value: object) -> bool:
    return isinstance(value, CodeType)


def _closure(
    function: FunctionType,
) -> Iterator[tuple[str, Callable[[], Any]]]:
    names = function.__code__.co_freevars
    cells = function.__closure__ or ()
    for name, cell in zip(names, cells, strict=True):
        if cell != _EMPTY:  # it may be assigned later
            yield name, partial(getattr, cell, "cell_contents")
