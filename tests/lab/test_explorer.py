import gzip
import json
import re
from html import unescape

import pytest
from bs4 import BeautifulSoup

from graphs import lock_order, locked_update, lost_update
from multithreading.lab.explorer import SCRIPT, STYLE, Explorer
from multithreading.lab.pictures import PALETTE
from multithreading.lab.schedules import Program, outcomes


class Found:
    """A search's result that is only its graph."""

    def __init__(self, graph):
        self.data = graph

    def graph(self):
        return self.data


def changed(graph, **values):
    return Found(graph.graph() | values)


def soup(explorer):
    return BeautifulSoup(explorer._repr_html_(), "html.parser")


def live(explorer):
    """Return the part that only a script puts into the page."""
    inside = soup(explorer).template.decode_contents()
    return BeautifulSoup(inside, "html.parser")


def data(explorer):
    return json.loads(soup(explorer).find("script").string)


def lines_of(explorer, letter):
    """Return the lines of a lane, by index, indented as they were."""
    html = explorer._repr_html_()
    lane = html.split('aria-label="Thread ')["ABCD".index(letter) + 1]
    found = re.findall(
        r'<li value="(\d+)"><code>(.*?)</code></li>', lane
    )
    return {
        int(value) - 1: unescape(re.sub("<.*?>", "", line)).replace(
            "\N{NO-BREAK SPACE}", "  "
        )
        for value, line in found
    }


@pytest.fixture
def lost():
    return Explorer(lost_update(), name="lost")


# --- The name ---


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a_b", "ä", "a\n"])
def test_a_name_that_is_no_part_of_a_link_is_refused(name):
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        Explorer(lost_update(), name=name)


def test_the_name_is_the_elements_id():
    explorer = Explorer(lost_update(), name="explore-Lost-2")
    element = soup(explorer).find("schedule-explorer")
    assert element["id"] == "explore-Lost-2"


# --- Code ---


def test_the_code_has_no_docstring_and_keeps_its_lines_indexes(lost):
    assert lines_of(lost, "B") == {
        0: "def add_one(tally: Tally) -> None:",
        5: "    seen = tally.count",
        6: "    tally.count = seen + 1",
    }
    for state in lost.graph["states"]:
        for at in filter(None, state["at"]):
            assert at[1] in lines_of(lost, "A")


def test_a_parser_that_drops_spaces_keeps_the_indentation():
    explorer = Explorer(locked_update(), name="locked")
    shown = [line.get_text() for line in live(explorer).find_all("li")]
    depths = [len(line) - len(line.lstrip()) for line in shown]
    assert {0, 2, 4} <= {*depths}
    assert all("\N{NO-BREAK SPACE}" not in x.lstrip() for x in shown)


@pytest.mark.parametrize(
    "lines",
    [
        ["    def only(self):", '        """Its docstring."""'],
        ["else:", "    run()"],
        ["def f():", "    x = 1", "    'no docstring'"],
        ["with lock:", "    run()"],
    ],
)
def test_other_code_is_shown_whole(lines):
    graph = lost_update().graph()
    graph["code"][0]["lines"] = [*lines, *[""] * 7]
    shown = [*lines_of(Explorer(Found(graph), name="x"), "A").values()]
    indent = len(lines[0]) - len(lines[0].lstrip())
    assert shown[: len(lines)] == [line[indent:] for line in lines]


def test_a_lane_shows_each_function_that_its_thread_runs():
    graph = changed(lock_order(), lanes=[[0], [1, 0]])
    page = live(Explorer(graph, name="x"))
    first, second = page.select(".explorer-lane")
    for lane, functions in ((first, ["0"]), (second, ["1", "0"])):
        found = [code["data-function"] for code in lane.select("ol")]
        assert found == functions


def test_code_is_highlighted_and_escaped():
    graph = lost_update().graph()
    graph["code"][0]["lines"][5] = "    seen = '<b>' # </script>"
    explorer = Explorer(Found(graph), name="x")
    html = explorer._repr_html_()
    assert '<span class="k">def</span>' in html
    assert "<b>" not in html
    assert html.count("</script>") == 1
    assert data(explorer)["states"][0]["next"]["A"][1] == (
        "seen = '<b>' # </script>"
    )


# --- What the script gets ---


def walked(explorer, schedule):
    """Return the last state of a schedule, and its steps in words."""
    states = data(explorer)["states"]
    at, steps = 0, []
    for letter in schedule:
        at, line, effect = states[at]["next"][letter]
        steps.append(f"{line} ({effect})")
    return states[at], steps


def test_a_step_says_what_it_does_to_locks():
    explorer = Explorer(lock_order(), name="x")
    assert walked(explorer, "ABAB")[1] == [
        "with a: (takes a)",
        "with b: (takes b)",
        "with b: (waits for b)",
        "with a: (waits for a)",
    ]
    assert walked(explorer, "AAA")[1][-1] == (
        "work() (releases a, releases b, ends)"
    )


def test_a_step_says_what_it_does_to_values(lost):
    assert walked(lost, "AABB")[1] == [
        "seen = tally.count (seen is 0)",
        "tally.count = seen + 1 (count is 1, ends)",
        "seen = tally.count (seen is 1)",
        "tally.count = seen + 1 (count is 2, ends)",
    ]


def test_the_variables_of_another_function_are_no_change():
    graph = lost_update().graph()
    graph["code"].append({"name": "inner", "lines": ["def inner():"]})
    graph["lanes"] = [[0, 1], [0]]
    after = graph["states"][graph["states"][0]["next"]["A"]]
    after["at"][0] = [1, 0]
    assert walked(Explorer(Found(graph), name="x"), "A")[1] == [
        "seen = tally.count ()"
    ]


def test_each_thread_says_why_it_cannot_run():
    explorer = Explorer(locked_update(), name="x")

    def notes(schedule):
        return walked(explorer, schedule)[0]["notes"]

    assert notes("") == ["", ""]
    assert notes("AB") == ["", "waits for lock, held by A"]
    assert notes("ABAA") == [
        "has ended",
        "waits for lock, which is free",
    ]


def test_what_is_no_lock_is_waited_for_too():
    graph = lost_update().graph()
    graph["states"][0]["waits"] = ["a notify of ready", None]
    notes = data(Explorer(Found(graph), name="x"))["states"][0]["notes"]
    assert notes == ["waits for a notify of ready", ""]


def test_a_thread_that_the_bound_stops_says_so():
    graph = lost_update().graph()
    del graph["states"][0]["next"]["B"]
    free = changed(Found(graph), bound=None)
    bounded = changed(Found(graph), bound=1)
    found = [
        data(Explorer(graph, name="x"))["states"][0]["notes"][1]
        for graph in (free, bounded)
    ]
    assert found == [
        "cannot run",
        "may not run here: one preemption too many",
    ]


def test_a_lock_says_who_holds_it_and_who_waits():
    explorer = Explorer(lock_order(), name="x")
    assert walked(explorer, "ABAB")[0]["locks"] == [
        ["a", "held by A; B waits"],
        ["b", "held by B; A waits"],
    ]
    assert walked(explorer, "")[0]["locks"] == [
        ["a", "free"],
        ["b", "free"],
    ]
    graph = lost_update(3).graph()
    graph["states"][0] |= {
        "locks": {"lock": "C"},
        "waits": ["lock", "lock", None],
    }
    state = data(Explorer(Found(graph), name="x"))["states"][0]
    assert state["locks"] == [["lock", "held by C; A and B wait"]]


# --- Challenges ---


def test_the_fewest_steps_are_counted_in_the_graph():
    goals = [("Finish", "both finish"), ("Stop", "deadlock")]
    explorer = Explorer(lock_order(), name="x", goals=goals)
    texts = [outcome["text"] for outcome in explorer.graph["outcomes"]]
    assert data(explorer)["goals"] == [
        {
            "what": "Finish",
            "outcome": texts.index("both finish"),
            "fewest": 6,
        },
        {
            "what": "Stop",
            "outcome": texts.index("deadlock"),
            "fewest": 4,
        },
    ]


def test_a_shorter_schedule_is_found_behind_a_longer():
    graph = lost_update().graph()
    steps = [{"A": 1, "B": 2}, {"A": 4}, {"B": 3}, {"B": 4}, {}]
    for state, after in zip(graph["states"], steps, strict=False):
        state.pop("end", None)
        state["next"] = after
    graph["states"] = graph["states"][:5]
    graph["states"][4]["end"] = 1
    for outcome in graph["outcomes"]:
        outcome["example"] = ""
    for state in graph["states"]:
        state["at"] = [[0, 5], [0, 5]]
    goals = [("Lose", "count = 1")]
    explorer = Explorer(Found(graph), name="x", goals=goals)
    assert data(explorer)["goals"][0]["fewest"] == 2


@pytest.mark.parametrize("goals", [[], [("Stop", "deadlock")]])
def test_challenges_are_offered_where_there_are_any(goals):
    explorer = Explorer(lock_order(), name="x", goals=goals)
    page = explorer.page("Locks")
    assert 'aria-label="Schedule"' in page
    assert ('aria-label="Challenge"' in page) is bool(goals)


def test_a_goal_that_no_schedule_reaches_says_so():
    goals = [("Count to three", "count = 3")]
    for bound, words in [
        (None, "No schedule can do it: all 6 end otherwise."),
        (
            2,
            "No schedule with at most 2 preemptions does it: "
            "all 6 end otherwise.",
        ),
    ]:
        graph = changed(lost_update(), bound=bound)
        explorer = Explorer(graph, name="x", goals=goals)
        assert data(explorer)["goals"] == [
            {"what": "Count to three", "none": words}
        ]


def test_an_outcome_at_no_end_is_a_fault_of_the_graph():
    graph = lost_update().graph()
    for state in graph["states"]:
        state.pop("end", None)
    with pytest.raises(ValueError, match="no state that ends so"):
        Explorer(Found(graph), name="x", goals=[("Lose", "count = 1")])


# --- The button's words ---


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("line", "Run one line of A"),
        ("access", "Run one access of A"),
        ("bytecode", "Run one bytecode of A"),
        ("gil", "Run A to its next switch"),
    ],
)
def test_a_button_says_what_a_step_is(step, words):
    graph = changed(lost_update(), step=step)
    button = live(Explorer(graph, name="x")).select_one(
        "[data-act=run]"
    )
    assert button.get_text() == words


# --- Without a script ---


def test_the_static_part_has_a_table_for_each_outcome():
    page = soup(Explorer(lock_order(), name="x"))
    captions = [caption.get_text() for caption in page("caption")]
    assert captions == [
        "both finish: possible, 4 of 8 schedules, for example AAABBB.",
        "deadlock: possible, 4 of 8 schedules, for example ABAB. "
        "A waits for b, held by B; B waits for a, held by A.",
    ]
    rows = [
        [cell.get_text() for cell in row(["th", "td"])]
        for row in page("table")[1]("tr")
    ]
    assert rows == [
        ["step", "A", "B"],
        ["1", "with a: (takes a)", ""],
        ["2", "", "with b: (takes b)"],
        ["3", "with b: (waits for b)", ""],
        ["4", "", "with a: (waits for a)"],
    ]


def test_the_static_part_has_no_button_and_the_rest_is_inert():
    explorer = Explorer(lost_update(), name="x")
    assert len(live(explorer)("button")) == 6
    page = soup(explorer)
    page.template.decompose()
    assert page(["button", "details", "a"]) == []
    assert page.pre.get_text() == (
        "def add_one(tally: Tally) -> None:\n"
        "    seen = tally.count\n"
        "    tally.count = seen + 1\n"
    )


def test_the_markdown_has_code_sentences_and_tables(lost):
    code, first, table, second, _ = lost._repr_markdown_().split("\n\n")
    assert code == (
        "```python\n"
        "def add_one(tally: Tally) -> None:\n"
        "    seen = tally.count\n"
        "    tally.count = seen + 1\n"
        "```"
    )
    assert first == (
        "count = 2: possible, 2 of 6 schedules, for example AABB."
    )
    assert second == (
        "count = 1: possible, 4 of 6 schedules, for example ABAB."
    )
    assert table.splitlines()[:3] == [
        "| step | A | B |",
        "| --- | --- | --- |",
        "| 1 | `seen = tally.count` (seen is 0) |  |",
    ]


def test_the_markdown_means_what_the_text_says():
    graph = lost_update().graph()
    graph["outcomes"][0]["text"] = "a*b*c <d> [e] `f` g_h_"
    graph["code"][0]["lines"][5] = "    seen = `a | b`"
    text = Explorer(Found(graph), name="x")._repr_markdown_()
    assert r"a\*b\*c \<d\> \[e\] \`f\` g\_h\_: possible" in text
    assert r"| 1 | `` seen = `a \| b` `` (seen is 0) |  |" in text


def test_the_text_says_how_it_ends():
    assert repr(Explorer(lock_order(), name="x")) == (
        "both finish: possible, 4 of 8 schedules, for example AAABBB.\n"
        "deadlock: possible, 4 of 8 schedules, for example ABAB. "
        "A waits for b, held by B; B waits for a, held by A."
    )
    one = Explorer(locked_update(), name="x")
    assert repr(one) == (
        "count = 2: always, 6 of 6 schedules, for example AAABBB."
    )
    graph = changed(lost_update(), schedules=1234567)
    assert "4 of 1,234,567 schedules" in repr(Explorer(graph, name="x"))


def test_each_form_names_the_bound():
    explorer = Explorer(changed(lost_update(), bound=2), name="x")
    words = "Only the schedules with at most 2 preemptions were run."
    assert words in live(explorer).get_text()
    assert words in soup(explorer).get_text()
    assert explorer._repr_markdown_().endswith(words)
    assert repr(explorer).endswith(words)
    one = Explorer(changed(lost_update(), bound=1), name="x")
    assert "at most 1 preemption were run" in repr(one)


# --- The whole ---


def test_a_page_is_whole(lost):
    page = lost.page("Lost & found")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Lost &amp; found</h1>" in page
    assert SCRIPT.read_text("utf-8") in page
    assert STYLE.read_text("utf-8") in page
    assert lost._repr_html_() in page
    assert not re.search(r"https?://", page)


def test_equal_graphs_give_equal_bytes():
    first, second = (
        Explorer(lost_update(), name="x")._repr_html_()
        for _ in range(2)
    )
    assert first == second


def test_the_script_is_small():
    assert len(gzip.compress(SCRIPT.read_bytes(), mtime=0)) <= 3072


def test_the_script_and_the_element_keep_to_a_strict_policy(lost):
    assert not re.search(
        r"\beval\b|innerHTML|new Function|fetch|import\b",
        SCRIPT.read_text("utf-8"),
    )
    assert not re.search(r" on\w+=| style=", lost._repr_html_())


def test_the_lanes_have_the_colours_of_the_pictures():
    found = re.findall(r"--thread: (#\w+)", STYLE.read_text("utf-8"))
    assert tuple(found) == PALETTE[:4]


def test_a_real_search_is_shown():
    def append(items):
        size = len(items)
        items.append(size)

    program = Program(threads=[append, append], setup=list, result=str)
    found = outcomes(program)
    explorer = Explorer(
        found, name="x", goals=[("Repeat a number", "[0, 0]")]
    )
    assert data(explorer)["goals"][0]["fewest"] == 4
    assert "size = len(items)" in explorer._repr_markdown_()
    assert "[0, 0]: possible, 4 of 6 schedules" in repr(explorer)


# --- Notes of the search ---


def test_a_step_tells_the_note_of_the_search_first():
    found = lost_update()
    found.graph()["states"][0]["at"][0].append("reads count")
    text = Explorer(found, name="noted")._repr_markdown_()
    assert "(reads count, seen is 0)" in text
