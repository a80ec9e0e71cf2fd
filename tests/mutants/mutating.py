"""The mutants of the book's programs: small faults, each in one place."""

import ast
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from cosmic_ray.work_item import MutationSpec, WorkItem
from parso.tree import NodeOrLeaf, search_ancestor

from operators import OPERATORS, bare

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path("code", "multithreading")
TESTS = Path("tests")

#: Those of Cosmic Ray that mean something here. One replacement for
#: each operator: a test that tells ``<`` from ``<=`` tells it from all.
GENERIC = [
    "AddNot",
    "RemoveDecorator",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Pow_Mul",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "ZeroIterationForLoop",
]
CHOSEN: dict[str, type[Operator]] = {
    **{name: OperatorProvider()[name] for name in GENERIC},
    **{operator.__name__: operator for operator in OPERATORS},
}

#: The tests of a module that has none of its own, or not these alone.
ELSEWHERE = {
    "lab/benchmark.py": ["lab/test_schedules.py"],
    "lab/controller.py": [
        "lab/test_controller.py",
        "lab/test_schedules.py",
    ],
    **{
        f"lab/{stem}.py": [
            f"lab/test_{stem}.py",
            "lab/test_timeline.py",
        ]
        for stem in (
            *("kernel_observer", "kernel_view", "lock_names"),
            *("stretches", "thread_observer"),
        )
    },
    "lab/reach.py": ["lab/test_reach.py", "lab/test_schedules.py"],
    "lab/search.py": ["lab/test_search.py", "lab/test_schedules.py"],
    "lab/state_graph.py": ["lab/test_schedules.py"],
    "lab/states.py": ["lab/test_states.py", "lab/test_schedules.py"],
    "lab/steps.py": [
        "lab/test_steps.py",
        "lab/test_schedules.py",
        "lab/test_explorer.py",
    ],
}


def modules() -> list[str]:
    """Name the modules that can be mutated, chapters before tools."""
    top = ROOT / PROGRAMS
    found = [
        path.relative_to(top).as_posix()
        for path in top.rglob("*.py")
        if path.name != "__init__.py"  # a docstring
    ]
    parts = ["threads", "multitasking", "lab"]
    return sorted(
        found, key=lambda m: (parts.index(m.split("/")[0]), m)
    )


def judges_of(module: str) -> list[str]:
    """Name the files of tests that a module has to pass."""
    path = Path(module)
    own = path.with_name(f"test_{path.stem.strip('_')}.py").as_posix()
    return ELSEWHERE.get(module, [own])


class Mutant(NamedTuple):
    """A module with one fault."""

    module: str
    operator: str
    occurrence: int
    function: str
    code: str
    #: What the changed lines were, and what they are.
    lines: tuple[str, str]

    @property
    def key(self) -> str:
        """Name the mutant, as long as its module is what it is."""
        told = f"{self.module} {self.operator} {self.code}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Tell the mutant from others, by what a reader can see."""
        return self.module, self.function, *self.lines

    def item(self) -> WorkItem:
        """Return what Cosmic Ray keeps of a mutant."""
        return WorkItem.single(
            self.key,
            MutationSpec(
                *(PROGRAMS / self.module, self.operator),
                *(self.occurrence, (1, 0), (2, 0)),
                definition_name=self.function,
            ),
        )

    def __str__(self) -> str:
        return (
            f"{self.module}, in {self.function or 'the module'}: "
            f"{self.operator}\n    - {self.lines[0]}\n"
            f"    + {self.lines[1]}"
        )


class _Meaning(ast.NodeTransformer):
    """Reduces a program to what can be seen of it when it runs."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef():
                match node.body:
                    case [ast.Expr(ast.Constant(str())), *rest]:
                        node.body = rest
        match node:
            case ast.FunctionDef():
                node.returns = None
            case ast.arg():
                node.annotation = None
            case ast.If(ast.Name("TYPE_CHECKING")):
                return ast.Pass()
            case ast.If(ast.UnaryOp(_, ast.Name("TYPE_CHECKING"))):
                return ast.Pass()
            case ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), what)):
                return what
            case ast.UnaryOp(ast.Not(), ast.Compare(_, [op])):
                for a, b in _OPPOSITES:
                    if isinstance(op, a | b):
                        other = b() if isinstance(op, a) else a()
                        node.operand.ops = [other]
                        return node.operand
        return node


_OPPOSITES = [
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
]


def meaning(code: str) -> str:
    """Return what a program is without annotations and docstrings.

    Raises SyntaxError where it is no program.
    """
    compile(code, "mutant", "exec")  # finds more than the parser does
    return ast.dump(_Meaning().visit(ast.parse(code)))


def mutants(module: str, code: str) -> Iterator[Mutant]:
    """Yield the mutants of a module that differ from it and each other."""
    tree = get_ast(code)
    nodes = list(ast_nodes(tree))
    known = {meaning(part.get_code()) for part in tree.children}
    for name, operator_class in CHOSEN.items():
        operator = operator_class()
        places = [
            (node, index)
            for node in nodes
            for index, _ in enumerate(operator.mutation_positions(node))
        ]
        for occurrence, (node, index) in enumerate(places):
            if _idle(name, node):
                continue
            part = _part(node)
            with _mutated(operator, node, index):
                mutated, text = tree.get_code(), part.get_code()
            try:
                meant = meaning(text)
            except SyntaxError:
                continue
            if meant not in known:
                known.add(meant)
                function = ASTQuery(node).get_definition_name() or ""
                yield Mutant(
                    *(module, name, occurrence, function, mutated),
                    _changed(code.splitlines(), mutated.splitlines()),
                )


def _idle(name: str, node: NodeOrLeaf) -> bool:
    """Tell whether a mutation would change nothing that a test knows.

    How long to wait, at most or to be seen, matters only where the
    program is broken; so does ``strict=True``. Where a picture is
    drawn, numbers are a matter of looks, for which there are eyes.
    """
    parent = node.parent
    if parent is None:
        return False
    first = parent.children[0]
    if parent.type in ("argument", "expr_stmt", "param"):
        named = re.match(r"\w+", bare(first))
        if named and node is not first and _WAITS.fullmatch(named[0]):
            return True
    if name.startswith(("AddOne", "ReplaceBinary")):
        call = search_ancestor(node, "atom_expr")
        if call is not None and bare(call).startswith("time.sleep("):
            return True
    if name.startswith(("AddOne", "ReplaceBinary", "ReplaceUnary")):
        function = search_ancestor(node, "funcdef")
        # `/` also ends the parameters that have no names
        return parent.type == "parameters" or (
            function is not None and _draws(function)
        )
    return False


@cache
def _draws(function: NodeOrLeaf) -> bool:
    return "new_axes(" in function.get_code()


_WAITS = re.compile("strict|timeout|pause|[A-Z_]*(LIMIT|PATIENCE)")


def _part(node: NodeOrLeaf) -> NodeOrLeaf:
    """Return the statement of the module that a node belongs to."""
    while node.parent is not None and node.parent.parent is not None:
        node = node.parent
    return node


@contextmanager
def _mutated(
    operator: Operator, node: NodeOrLeaf, index: int
) -> Iterator[None]:
    """Mutate a tree for a while; to parse it each time takes minutes."""
    # An operator changes the node or its children, or returns another
    # node for it, or none.
    near = [node.parent, node, *getattr(node, "children", [])]
    kept = [
        (each, name, getattr(each, name)[:])
        for each in near
        for name in ("children", "value")
        if hasattr(each, name)
    ]
    new = operator.mutate(node, index)
    if new is not node:
        around = node.parent.children
        at = around.index(node)
        around[at : at + 1] = [] if new is None else [new]
    yield
    for each, name, value in kept:
        setattr(each, name, value)


def _changed(old: list[str], new: list[str]) -> tuple[str, str]:
    """Return the lines that differ, before and after, as one each."""
    first = _alike(old, new)
    old, new = old[first:], new[first:]
    last = _alike(old[::-1], new[::-1])
    a, b = (
        " ".join(
            line.strip()
            for line in lines[: len(lines) - last]
            if line.strip()
        )
        for lines in (old, new)
    )
    return a, b


def _alike(a: list[str], b: list[str]) -> int:
    """Return how many lines at the beginning are the same."""
    pairs = zip(a, b, strict=False)
    return sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)
    )
