"""What Cosmic Ray lacks: mutations of how threads work together.

Each of these breaks a program as its authors do. A lock with no name
of one is not known for a lock. Locks that are nested in two ``with``
statements are not swapped, for ruff joins the statements.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise

from cosmic_ray.operators.number_replacer import NumberReplacer
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name
from parso.tree import BaseNode, NodeOrLeaf

#: For some children of a node, by index, the code that replaces them.
Rewrite = dict[int, str]
Positions = Iterator[tuple[tuple[int, int], tuple[int, int]]]

LOCK = re.compile(r"(^|_)(r?lock|mutex|condition|semaphore|guard)s?$")
ENDING = {
    *("acquire", "cancel", "close", "join", "kill", "notify"),
    *("notify_all", "release", "set", "shutdown", "task_done"),
    *("terminate", "wait"),
}
OPPOSITE = {"in": " not in", "not in": " in"}
WAITING = {"exception", "join", "result", "wait"}


class Rewriting(Operator):
    """An operator that replaces some children of a node."""

    #: The code before, and the code after each mutation of it.
    before = ""
    after: tuple[str, ...] = ()

    @abstractmethod
    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        """Yield the ways to mutate the node."""

    def mutation_positions(self, node: NodeOrLeaf) -> Positions:
        if isinstance(node, BaseNode):
            for _ in self.rewrites(node):
                yield node.start_pos, node.end_pos

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        rewrite = list(self.rewrites(node))[index]
        node.children = [
            Name(rewrite[i], child.start_pos) if i in rewrite else child
            for i, child in enumerate(node.children)
        ]
        return node

    @classmethod
    def examples(cls) -> Iterator[Example]:
        for occurrence, after in enumerate(cls.after):
            yield Example(cls.before, after, occurrence)


def without(node: BaseNode, index: int) -> Rewrite:
    """Drop one of the children that commas separate, and its comma."""
    children = node.children
    commas = [
        i
        for i in (index + 1, index - 1)
        if 0 <= i < len(children) and children[i].get_code() == ","
    ]
    return dict.fromkeys([index, *commas[:1]], "")


def bare(node: NodeOrLeaf) -> str:
    return node.get_code(include_prefix=False)


def method(node: NodeOrLeaf) -> str:
    """Return the name of the method that an expression calls, or ''."""
    if node.type != "atom_expr" or len(node.children) < 3:
        return ""
    *_, name, call = (bare(child) for child in node.children)
    return name[1:] if name[0] == "." and call[0] == "(" else ""


def is_lock(node: NodeOrLeaf) -> bool:
    name = re.search(r"(\w+)(\(\))?$", bare(node))
    return name is not None and LOCK.search(name[1]) is not None


def locks(node: BaseNode) -> list[int]:
    """Return which children of a ``with`` statement are locks."""
    if node.type != "with_stmt":
        return []
    items = range(1, len(node.children) - 2, 2)
    return [i for i in items if is_lock(node.children[i])]


class DropLock(Rewriting):
    """Do without a lock what was done under it."""

    before = "with lock, tally.get_lock(), clock:\n    work()\n"
    after = (
        "with tally.get_lock(), clock:\n    work()\n",
        "with lock, clock:\n    work()\n",
    )

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        for lock in locks(node):
            if len(node.children) > 4:
                yield without(node, lock)
            else:
                keyword = node.children[0]
                yield {0: f"{keyword.prefix}if", lock: " True"}

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield from super().examples()
        yield Example("with a.lock:\n    b\n", "if True:\n    b\n")


class SwapLocks(Rewriting):
    """Take two locks in the other order."""

    before = (
        "with my_lock, your_lock:\n    a.acquire()\n    b.acquire()\n"
    )
    after = (
        "with your_lock, my_lock:\n    a.acquire()\n    b.acquire()\n",
        "with my_lock, your_lock:\n    b.acquire()\n    a.acquire()\n",
    )

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        found = locks(node)
        for a, b in pairwise(found):
            if b == a + 2:
                texts = [bare(node.children[i]) for i in (b, a)]
                yield {a: f" {texts[0]}", b: f" {texts[1]}"}
        asks = [
            i
            for i, child in enumerate(node.children)
            if child.type == "simple_stmt"
            and method(child.children[0]) == "acquire"
        ]
        for a, b in pairwise(asks):
            if b == a + 1:
                codes = [node.children[i].get_code() for i in (b, a)]
                yield {a: codes[0], b: codes[1]}


class WhileToIf(Rewriting):
    """Look once where a loop looks again."""

    before = "while not items:\n    ready.wait()\n"
    after = ("if not items:\n    ready.wait()\n",)

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type == "while_stmt":
            yield {0: f"{node.children[0].prefix}if"}


class NotifyOne(Rewriting):
    """Wake one of the threads that wait, not all."""

    before = "ready.notify_all()\n"
    after = ("ready.notify()\n",)

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type == "trailer" and bare(node) == ".notify_all":
            yield {1: "notify"}


class DropCall(Rewriting):
    """Do not wait for, wake, or end what a statement is there for."""

    before = "thread.join()\njobs.task_done()\nx = a.wait()\nb.run()\n"
    after = (
        "pass\njobs.task_done()\nx = a.wait()\nb.run()\n",
        "thread.join()\npass\nx = a.wait()\nb.run()\n",
    )

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type == "simple_stmt":
            call = node.children[0]
            if method(call) in ENDING:
                yield {0: f"{call.get_first_leaf().prefix}pass"}


class DropTimeout(Rewriting):
    """Wait for ever."""

    before = (
        "jobs.get(timeout=1)\nlock.acquire(True, timeout=LIMIT)\n"
        "done.wait(LIMIT)\nx = y.join(words)\nthread.join(1)\n"
    )
    after = (
        before.replace("timeout=1", ""),
        before.replace(", timeout=LIMIT", ""),
        before.replace("wait(LIMIT)", "wait()"),
        before.replace("join(1)", "join()"),
    )

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type not in ("trailer", "arglist"):
            return
        for i, child in enumerate(node.children):
            if child.type == "argument" and bare(child).startswith(
                "timeout="
            ):
                yield without(node, i)
        if node.type == "trailer" and len(node.children) == 3:
            call, name = node.parent, method(node.parent)
            last = node is call.children[-1] and name in WAITING
            # a text's `join` is wanted for what it returns
            text = name == "join" and call.parent.type != "simple_stmt"
            kind = node.children[1].type
            if (
                last
                and not text
                and kind not in ("argument", "arglist")
            ):
                yield {1: ""}


class ReplaceIn(Rewriting):
    """Ask for the opposite of ``in`` and of ``not in``."""

    before = "[x for x in y if x in z if x not in w]\n"
    after = (
        "[x for x in y if x not in z if x not in w]\n",
        "[x for x in y if x in z if x in w]\n",
    )

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type == "comparison":
            for i, child in enumerate(node.children):
                word = " ".join(bare(child).split())
                if word in OPPOSITE:
                    yield {i: OPPOSITE[word]}


class CatchNothing(Rewriting):
    """Let an exception pass; Cosmic Ray's falls over dotted names."""

    before = "try:\n    a\nexcept (os.error, B) as c:\n    d\n"
    after = ("try:\n    a\nexcept () as c:\n    d\n",)

    def rewrites(self, node: BaseNode) -> Iterator[Rewrite]:
        if node.type == "except_clause":
            yield {1: " ()"}


class AddOne(NumberReplacer):  # type: ignore[misc]
    """Count one more; Cosmic Ray's would also count one less."""

    def mutation_positions(self, node: NodeOrLeaf) -> Positions:
        yield from list(super().mutation_positions(node))[:1]

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield Example("x = 1 + 0.5", "x = 2 + 0.5")
        yield Example("x = 1 + 0.5", "x = 1 + 1.5", 1)


OPERATORS = [
    *(DropLock, SwapLocks, WhileToIf, NotifyOne, DropCall),
    *(DropTimeout, ReplaceIn, CatchNothing, AddOne),
]
