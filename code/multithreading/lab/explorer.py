"""A page's element in which the reader decides which thread runs next.

The script and the style sheet, ``explorer.js`` and ``explorer.css``,
stand beside this module. The build adds them to the pages that need
them. Where they do not run, on paper and without JavaScript, the element
shows the code and one table for each outcome.
"""

from __future__ import annotations

import ast
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import (  # type: ignore[import-untyped]
    HtmlFormatter,
)
from pygments.lexers import (  # type: ignore[import-untyped]
    PythonLexer,
)

from multithreading.lab.tables import Table
from multithreading.lab.webpage import webpage

SCRIPT = Path(__file__).with_suffix(".js")
STYLE = Path(__file__).with_suffix(".css")

#: What the button of a thread does, for each kind of step.
_RUN = {
    "line": "Run one line of {}",
    "access": "Run one access of {}",
    "bytecode": "Run one bytecode of {}",
    "gil": "Run {} to its next switch",
}


class Found(Protocol):
    """What a search of schedules found."""

    def graph(self) -> dict[str, Any]:
        """Return the program's states, and the steps between them."""
        ...


class Explorer:
    """The schedules of a small program, for a reader to run step by step.

    A web page shows it as an element with a button for each thread; the
    PDF, as tables. ``name`` is the element's id, and the key in a link
    to a schedule: ``#name=ABAB``. ``goals`` are challenges: what to do,
    and the text of the outcome to reach. No schedule need reach it: that
    one cannot is then what the reader finds.

    Raises ValueError where ``name`` holds more than letters, digits and
    hyphens.
    """

    def __init__(
        self,
        found: Found,
        *,
        name: str,
        goals: Sequence[tuple[str, str]] = (),
    ) -> None:
        if not re.fullmatch("[A-Za-z0-9-]+", name):
            raise ValueError(
                f"the explorer's name {name!r} becomes a part of links: "
                "use letters, digits and hyphens"
            )
        self.name = name
        self.graph = found.graph()
        self._functions = [
            _Function(function["lines"])
            for function in self.graph["code"]
        ]
        self._goals = [
            {"what": what, **self._goal(text)} for what, text in goals
        ]

    def page(self, title: str) -> str:
        """Return a whole web page, in one file, with this element."""
        light, dark = (
            HtmlFormatter(style=style).get_style_defs(".highlight")
            for style in ("default", "github-dark")
        )
        dark = f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
        return webpage(
            title,
            self._repr_html_(),
            styles=[light, dark, STYLE.read_text("utf-8")],
            scripts=[SCRIPT.read_text("utf-8")],
        )

    def _repr_html_(self) -> str:
        return "\n".join(
            [
                f'<schedule-explorer class="explorer" id="{self.name}">',
                f'<script type="application/json">{self._data()}</script>',
                "<template>",
                *self._live(),
                "</template>",
                '<div class="explorer-static">',
                *self._tables(),
                "</div>",
                "</schedule-explorer>",
            ]
        )

    def _repr_markdown_(self) -> str:
        parts = [f"```python\n{f.text}\n```" for f in self._functions]
        for outcome in self.graph["outcomes"]:
            rows = [
                {"step": number}
                | dict.fromkeys(self.graph["threads"], "")
                | {letter: f"{_span(line)}{_aside(effect)}"}
                for number, (letter, line, effect) in enumerate(
                    self._steps(outcome["example"]), start=1
                )
            ]
            parts += [
                _plain(self._sentence(outcome)),
                Table(rows)._repr_markdown_(),
            ]
        parts += self._bounded()
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        outcomes = map(self._sentence, self.graph["outcomes"])
        return "\n".join([*outcomes, *self._bounded()])

    # What is found ---------------------------------------------------

    def _goal(self, text: str) -> dict[str, Any]:
        """Return where a goal's outcome stands, and the fewest steps to it.

        Where no schedule reaches it, return the words to say so.
        """
        number, bound = self.graph["schedules"], self.graph["bound"]
        texts = [outcome["text"] for outcome in self.graph["outcomes"]]
        if text in texts:
            index = texts.index(text)
            return {"outcome": index, "fewest": self._fewest(index)}
        none = (
            "No schedule can do it"
            if bound is None
            else f"No schedule with at most {_preemptions(bound)} does it"
        )
        return {"none": f"{none}: all {number:,} end otherwise."}

    def _fewest(self, outcome: int) -> int:
        """Return the length of the shortest schedule with this outcome."""
        states = self.graph["states"]
        steps, waiting = {0: 0}, deque([0])
        while waiting:
            at = waiting.popleft()
            if states[at].get("end") == outcome:
                return steps[at]
            for after in states[at]["next"].values():
                if after not in steps:
                    steps[after] = steps[at] + 1
                    waiting.append(after)
        text = self.graph["outcomes"][outcome]["text"]
        raise ValueError(
            f"the graph has the outcome {text!r} and no state that ends so"
        )

    def _steps(self, schedule: str) -> Iterator[tuple[str, str, str]]:
        """Yield who runs, the line, and what it changes, step by step."""
        at = 0
        for letter in schedule:
            after = self.graph["states"][at]["next"][letter]
            yield letter, *self._step(at, after, letter)
            at = after

    def _step(
        self, at: int, after: int, letter: str
    ) -> tuple[str, str]:
        """Return the line that a step runs, and what it changes."""
        states = self.graph["states"]
        before, now = states[at], states[after]
        thread = self.graph["threads"].index(letter)
        function, line, *note = before["at"][thread]
        text = self.graph["code"][function]["lines"][line].strip()
        effects = [*note, *_effects(before, now, thread, letter)]
        return text, ", ".join(effects)

    # In words --------------------------------------------------------

    def _sentence(self, outcome: dict[str, Any]) -> str:
        words = (
            f"{outcome['text']}: {outcome['grade']}, "
            f"{outcome['schedules']:,} of {self.graph['schedules']:,} "
            f"schedules, for example {outcome['example']}."
        )
        return " ".join([words, *self._whys(outcome)])

    def _whys(self, outcome: dict[str, Any]) -> list[str]:
        """Return what explains an outcome, at the end of its example."""
        at = 0
        for letter in outcome["example"]:
            at = self.graph["states"][at]["next"][letter]
        why = self.graph["states"][at].get("why")
        return [why] if why else []

    def _bounded(self) -> list[str]:
        bound = self.graph["bound"]
        if bound is None:
            return []
        return [
            f"Only the schedules with at most {_preemptions(bound)} "
            "were run."
        ]

    def _note(self, state: dict[str, Any], thread: int) -> str:
        """Say why a thread waits or cannot run; '' where it just can."""
        if state["at"][thread] is None:
            return "has ended"
        wait = state["waits"][thread]
        if wait in state["locks"]:
            holder = state["locks"][wait]
            held = f"held by {holder}" if holder else "which is free"
            return f"waits for {wait}, {held}"
        if wait is not None:
            return f"waits for {wait}"
        if self.graph["threads"][thread] in state["next"]:
            return ""
        if self.graph["bound"] is None or "end" in state:
            return "cannot run"
        return "may not run here: one preemption too many"

    # As an element ---------------------------------------------------

    def _data(self) -> str:
        """Return what the script needs, as JSON within HTML."""
        threads = self.graph["threads"]
        states = []
        for at, state in enumerate(self.graph["states"]):
            shown = {
                "at": state["at"],
                "locals": [
                    "\n".join(f"{k} = {v}" for k, v in values.items())
                    for values in state["locals"]
                ],
                "notes": [
                    self._note(state, n) for n in range(len(threads))
                ],
                "shared": [*state["shared"].items()],
                "locks": [*_locks(threads, state)],
                "next": {
                    letter: [after, *self._step(at, after, letter)]
                    for letter, after in state["next"].items()
                },
                "ways": state["ways"],
            }
            if "end" in state:
                shown["end"] = state["end"]
                shown["why"] = state.get("why", "")
            states.append(shown)
        data = {
            "outcomes": [
                {
                    key: outcome[key]
                    for key in ("text", "grade", "example")
                }
                for outcome in self.graph["outcomes"]
            ],
            "goals": self._goals,
            "states": states,
        }
        text = json.dumps(
            data, ensure_ascii=False, separators=(",", ":")
        )
        return text.replace("<", "\\u003c")

    def _live(self) -> Iterator[str]:
        """Yield the part for which there must be a script."""
        threads = self.graph["threads"]
        keys = ", ".join(f"<kbd>{t.lower()}</kbd>" for t in threads)
        title = f"{self.name}-title"
        yield (
            '<div class="explorer-live" role="group" '
            f'aria-labelledby="{title}">'
            f'<p class="explorer-title" id="{title}">'
            "You are the scheduler</p>"
            "<p>Choose which thread runs next. "
            '<span class="explorer-keys">In this box the keys '
            f"{keys} run a thread, <kbd>Backspace</kbd> steps back, "
            "<kbd>r</kbd> starts again.</span></p>"
        )
        for words in self._bounded():
            yield f"<p>{escape(words)}</p>"
        if self._goals:
            yield _row(
                "Challenge",
                *(
                    _button(
                        goal["what"], "goal", n, "aria-pressed=false"
                    )
                    for n, goal in enumerate(self._goals)
                ),
            )
        yield _row(
            "Schedule",
            _button("Back", "back", "", "aria-keyshortcuts=Backspace"),
            _button("Start again", "again", "", "aria-keyshortcuts=r"),
            *(
                _button(f"Play: {outcome['text']}", "play", n)
                for n, outcome in enumerate(self.graph["outcomes"])
            ),
        )
        yield '<div class="explorer-lanes">'
        for letter, functions in zip(
            threads, self.graph["lanes"], strict=True
        ):
            yield from self._lane(letter, functions)
        yield (
            '</div><p class="explorer-status" role="status"></p>'
            '<div class="explorer-facts">'
            '<div><p class="explorer-head">Shared</p>'
            '<dl data-part="shared"></dl></div>'
            '<div><p class="explorer-head">Ways on from here</p>'
            '<ul data-part="ways"></ul></div>'
            '</div><p class="explorer-head">Steps so far</p>'
            '<ol data-part="trail"></ol>'
            f'<p><a href="#{self.name}">Link to this schedule</a></p>'
            "</div>"
            '<details class="explorer-tables">'
            "<summary>The same as tables</summary></details>"
        )

    def _lane(self, letter: str, functions: list[int]) -> Iterator[str]:
        key = letter.lower()
        run = _RUN[self.graph["step"]].format(letter)
        yield (
            f'<div class="explorer-lane explorer-{key}" role="group" '
            f'aria-label="Thread {letter}"><div class="explorer-row">'
            f'<span class="explorer-head">Thread {letter}</span>'
            f"{_button(run, 'run', letter, f'aria-keyshortcuts={key}')}"
            "</div>"
        )
        for index in functions:
            lines = "".join(
                f'<li value="{number + 1}">'
                f"<code>{_indented(line)}</code></li>"
                for number, line in self._functions[index].html
            )
            yield (
                '<div class="highlight">'
                f'<ol data-function="{index}">{lines}</ol></div>'
            )
        yield (
            '<p class="explorer-note"></p>'
            '<p class="explorer-locals"><code></code></p></div>'
        )

    def _tables(self) -> Iterator[str]:
        """Yield the part that needs no script."""
        for function in self._functions:
            lines = "\n".join(line for _, line in function.html)
            yield f'<div class="highlight"><pre>{lines}\n</pre></div>'
        heads = "".join(
            f'<th scope="col">{head}</th>'
            for head in ("step", *self.graph["threads"])
        )
        for outcome in self.graph["outcomes"]:
            yield (
                f"<table><caption>{escape(self._sentence(outcome))}"
                f"</caption><thead><tr>{heads}</tr></thead><tbody>"
            )
            steps = self._steps(outcome["example"])
            for number, (letter, line, effect) in enumerate(steps, 1):
                shown = f"<code>{escape(line)}</code>{_aside(escape(effect))}"
                cells = "".join(
                    f"<td>{shown if thread == letter else ''}</td>"
                    for thread in self.graph["threads"]
                )
                yield f'<tr><th scope="row">{number}</th>{cells}</tr>'
            yield "</tbody></table>"
        for words in self._bounded():
            yield f"<p>{escape(words)}</p>"


class _Function:
    """The source of a function, without its docstring."""

    def __init__(self, lines: Sequence[str]) -> None:
        source = dedent("\n".join(lines))
        hidden = _docstring(source)
        shown = [n for n in range(len(lines)) if n not in hidden]
        plain = source.split("\n")
        coloured = highlight(
            source,
            PythonLexer(stripnl=False),
            HtmlFormatter(nowrap=True),
        ).split("\n")
        self.text = "\n".join(plain[n] for n in shown)
        #: Each shown line's index among all, and its HTML.
        self.html = [(n, coloured[n]) for n in shown]


def _indented(line: str) -> str:
    """Return a line of HTML with half its indentation: lanes are narrow.

    Outside of `pre` some parsers take several spaces for one, but not
    these; the line may break behind them.
    """
    code = line.lstrip(" ")
    spaces = "\N{NO-BREAK SPACE}" * ((len(line) - len(code)) // 2)
    return f"{spaces}<wbr>{code}" if spaces else code


def _docstring(source: str) -> range:
    """Return the indexes of the lines of a function's docstring."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return range(0)
    match body:
        case [
            ast.FunctionDef(body=[ast.Expr() as first, _, *_])
            | ast.AsyncFunctionDef(body=[ast.Expr() as first, _, *_])
        ] if ast.get_docstring(body[0]):  # type: ignore[arg-type]
            return range(first.lineno - 1, first.end_lineno or 0)
        case _:
            return range(0)


def _effects(
    before: dict[str, Any],
    now: dict[str, Any],
    thread: int,
    letter: str,
) -> Iterator[str]:
    """Yield what a step changes, in a few words each."""
    old, new = before["at"][thread], now["at"][thread]
    if new and old[0] == new[0]:
        yield from _changes(
            before["locals"][thread], now["locals"][thread]
        )
    yield from _changes(before["shared"], now["shared"])
    for lock, holder in now["locks"].items():
        earlier = before["locks"].get(lock)
        if holder != earlier and holder == letter:
            yield f"takes {lock}"
        elif holder != earlier and earlier == letter:
            yield f"releases {lock}"
    if now["waits"][thread] is not None:
        yield f"waits for {now['waits'][thread]}"
    if new is None:
        yield "ends"


def _changes(
    before: dict[str, str], now: dict[str, str]
) -> Iterator[str]:
    for name, value in now.items():
        if before.get(name) != value:
            yield f"{name} is {value}"


def _locks(
    threads: list[str], state: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield each lock, with who holds it and who waits for it."""
    for lock, holder in state["locks"].items():
        waiting = [
            letter
            for letter, wait in zip(
                threads, state["waits"], strict=True
            )
            if wait == lock
        ]
        words = f"held by {holder}" if holder else "free"
        if waiting:
            verb = "waits" if len(waiting) == 1 else "wait"
            words += f"; {' and '.join(waiting)} {verb}"
        yield lock, words


def _preemptions(number: int) -> str:
    return f"{number} preemption{'' if number == 1 else 's'}"


def _aside(text: str) -> str:
    return f" ({text})" if text else ""


def _span(code: str) -> str:
    """Return code as a part of a Markdown text."""
    longest = max(map(len, re.findall("`+", code)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{ticks}{space}{code}{space}{ticks}"


def _plain(text: str) -> str:
    """Return a text whose characters mean nothing in Markdown."""
    return re.sub(r"([\\`*_\[\]<>&|])", r"\\\1", text)


def _row(label: str, *buttons: str) -> str:
    return (
        f'<div class="explorer-row" role="group" aria-label="{label}">'
        f'<span class="explorer-head">{label}</span>{"".join(buttons)}'
        "</div>"
    )


def _button(text: str, act: str, value: object, more: str = "") -> str:
    return (
        f'<button type="button" data-act="{act}" value="{value}" {more}>'
        f"{escape(text)}</button>"
    )
