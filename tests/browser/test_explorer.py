import contextlib
import io
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from pypdf import PdfReader

from graphs import (
    lock_order,
    locked_update,
    lost_update,
)
from multithreading.lab.explorer import SCRIPT, STYLE, Explorer
from multithreading.lab.webpage import webpage

with contextlib.suppress(ImportError):  # `browser` then skips or fails
    from playwright.sync_api import expect

LOSE = "Lose an update in the fewest steps"
THREE = "Count to three"
DEADLOCK = "Make it stop for ever"
SLOWLY = "Count to two"
START = (
    "This is the start. "
    "2 of 6 ways on from here: count = 2; 4 of 6: count = 1."
)


class Bounded:
    """A search that left schedules out."""

    def graph(self):
        return lost_update().graph() | {"bound": 1}


@cache
def lost():
    return Explorer(
        lost_update(),
        name="explore-lost",
        goals=[(LOSE, "count = 1"), (THREE, "count = 3")],
    )


@cache
def locks():
    return Explorer(
        lock_order(),
        name="explore-locks",
        goals=[(DEADLOCK, "deadlock"), ("Finish", "both finish")],
    )


@cache
def locked():
    return Explorer(
        locked_update(),
        name="explore-locked",
        goals=[(SLOWLY, "count = 2")],
    )


@cache
def four():
    return Explorer(lost_update(4), name="explore-four")


def run(page, letters):
    for letter in letters:
        press(page, f"Run one line of {letter}")


def press(page, name):
    # by force, for else it waits until a button is not aria-disabled
    button = page.get_by_role("button", name=name, exact=True)
    button.click(force=True)


def status(page):
    return page.get_by_role("status")


def lane(page, letter):
    return page.get_by_role("group", name=f"Thread {letter}")


def current(page, letter):
    return lane(page, letter).locator("[aria-current=step]")


def trail(page):
    return page.locator("[data-part=trail] li")


def ways(page):
    return page.locator("[data-part=ways] li")


def fragment(page):
    return page.evaluate("location.hash")


# --- Steps ---


def test_a_mouse_runs_the_threads(visit):
    page = visit(lost().page("Lost"))
    expect(status(page)).to_have_text(START)
    expect(current(page, "A")).to_have_text("    seen = tally.count")
    run(page, "AB")
    expect(status(page)).to_have_text(
        "B runs “seen = tally.count” (seen is 0). "
        "2 of 2 ways on from here: count = 1."
    )
    expect(current(page, "A")).to_have_text(
        "    tally.count = seen + 1"
    )
    expect(lane(page, "B")).to_contain_text("seen = 0")
    expect(page.locator("[data-part=shared]")).to_have_text("count0")
    expect(ways(page)).to_have_text(
        ["0 of 2: count = 2", "2 of 2: count = 1"]
    )
    run(page, "AB")
    expect(status(page)).to_have_text(
        "B runs “tally.count = seen + 1” (ends). "
        "The end: count = 1, possible."
    )
    expect(current(page, "A")).to_have_count(0)
    expect(lane(page, "A")).to_contain_text("has ended")
    expect(page.locator("[data-part=shared]")).to_have_text("count1")
    expect(trail(page)).to_have_text(
        [
            "A seen = tally.count (seen is 0)",
            "B seen = tally.count (seen is 0)",
            "A tally.count = seen + 1 (count is 1, ends)",
            "B tally.count = seen + 1 (ends)",
        ]
    )


def test_the_bars_are_as_long_as_the_shares(visit):
    page = visit(lost().page("Lost"))
    lengths = page.evaluate(
        "[...document.querySelectorAll('[data-part=ways] span > span')]"
        ".map(e => e.offsetWidth / e.parentElement.clientWidth)"
    )
    assert lengths == pytest.approx([2 / 6, 4 / 6], abs=0.02)


def test_a_finger_runs_the_threads(visit):
    page = visit(
        lost().page("Lost"),
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    for letter in "ABBA":
        lane(page, letter).get_by_role("button").tap()
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )
    page.get_by_role("button", name="Back").tap()
    expect(trail(page)).to_have_count(3)
    page.locator("summary").tap()
    expect(page.locator("table").first).to_be_visible()
    assert min(heights(page)) >= 44


def test_a_mouse_needs_no_sharp_aim(visit):
    assert min(heights(visit(lost().page("Lost")))) >= 24


def heights(page):
    targets = page.locator(".explorer :is([data-act], a, summary)")
    return [target.bounding_box()["height"] for target in targets.all()]


def test_the_keyboard_alone_does_everything(visit):
    page = visit(lost().page("Lost"))
    keys = page.keyboard
    keys.press("a")
    expect(status(page)).to_have_text(START)  # the focus is elsewhere
    keys.press("Tab")
    expect(page.get_by_role("button", name=LOSE)).to_be_focused()
    outline = page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle"
    )
    assert outline == "solid"
    for key in "abBA":
        keys.press(key)
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )
    keys.press("Backspace")
    keys.press("Backspace")
    expect(trail(page)).to_have_count(2)
    keys.press("r")
    expect(status(page)).to_have_text(START)
    keys.press("Control+b")
    expect(status(page)).to_have_text(START)
    order = []
    while page.evaluate("document.activeElement.closest('.explorer')"):
        order.append(
            page.evaluate("document.activeElement.textContent")
        )
        keys.press("Tab")
    assert order == [
        LOSE,
        THREE,
        "Back",
        "Start again",
        "Play: count = 2",
        "Play: count = 1",
        "Run one line of A",
        "Run one line of B",
        "Link to this schedule",
        "The same as tables",
    ]


def test_back_and_start_again(visit):
    page = visit(lost().page("Lost"))
    back = page.get_by_role("button", name="Back")
    expect(back).to_have_attribute("aria-disabled", "true")
    press(page, "Back")
    expect(status(page)).to_have_text("This is the start.")
    run(page, "AB")
    expect(back).to_have_attribute("aria-disabled", "false")
    press(page, "Back")
    expect(status(page)).to_have_text(
        "Back. A runs “seen = tally.count” (seen is 0). "
        "1 of 3 ways on from here: count = 2; 2 of 3: count = 1."
    )
    assert fragment(page) == "#explore-lost=A"
    press(page, "Start again")
    expect(status(page)).to_have_text(START)
    expect(trail(page)).to_have_count(0)
    assert fragment(page) == "#explore-lost"


def test_a_thread_that_cannot_run_says_why(visit):
    page = visit(locks().page("Locks"))
    run(page, "ABA")
    button = page.get_by_role("button", name="Run one line of A")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(lane(page, "A")).to_contain_text("waits for b, held by B")
    shared = page.locator("[data-part=shared] dd")
    expect(shared).to_have_text(["held by A", "held by B; A waits"])
    run(page, "A")
    expect(status(page)).to_have_text("A waits for b, held by B.")
    expect(trail(page)).to_have_count(3)
    run(page, "B")
    expect(status(page)).to_have_text(
        "B runs “with a:” (waits for a). The end: deadlock, possible. "
        "A waits for b, held by B; B waits for a, held by A."
    )


def test_a_thread_waits_until_the_lock_is_free(visit):
    page = visit(locked().page("Locked"))
    run(page, "AB")
    expect(lane(page, "B")).to_contain_text("waits for lock, held by A")
    run(page, "AA")
    expect(lane(page, "B")).to_contain_text(
        "waits for lock, which is free"
    )
    run(page, "A")
    expect(status(page)).to_have_text("A has ended.")
    run(page, "B")
    expect(trail(page).last).to_have_text(
        "B with tally.lock: (takes lock)"
    )


def test_the_current_line_is_marked_without_colour_too(visit):
    page = visit(locks().page("Locks"), "#explore-locks=ABA")
    marks = page.evaluate(
        "[...document.querySelectorAll('[aria-current]')].map("
        "e => getComputedStyle(e, '::before').content)"
    )
    assert ["‖" in marks[0], "→" in marks[1]] == [True, True]


def test_four_threads(visit):
    page = visit(four().page("Four"))
    run(page, "ABCDABCD")
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )
    expect(page.locator("[data-part=ways] li")).to_have_count(4)
    page.keyboard.press("r")
    page.keyboard.press("d")
    expect(trail(page)).to_have_text(
        ["D seen = tally.count (seen is 0)"]
    )
    expect(ways(page).last).to_contain_text(" of 630: ")


# --- Links ---


def test_a_link_leads_to_its_schedule(visit):
    page = visit(
        webpage(
            "Far down",
            "<p>" + "word <br>" * 100 + "</p>",
            lost()._repr_html_(),
            styles=[STYLE.read_text("utf-8")],
            scripts=[SCRIPT.read_text("utf-8")],
        ),
        "#explore-lost=ABA",
    )
    expect(trail(page)).to_have_count(3)
    expect(page.locator("#explore-lost")).to_be_in_viewport()
    page.evaluate("location.hash = 'explore-lost=BB'")
    expect(trail(page)).to_have_count(2)
    expect(trail(page).first).to_contain_text("B seen")
    page.evaluate("location.hash = 'explore-other=AA'")
    page.evaluate("location.hash = 'explore-lost'")
    expect(trail(page)).to_have_count(2)


@pytest.mark.parametrize("letters", ["AAA", "ABX", "ab", "ABABA"])
def test_a_link_that_is_not_possible_is_ignored(visit, letters):
    page = visit(lost().page("Lost"), f"#explore-lost={letters}")
    expect(status(page)).to_have_text(
        f"The link is ignored: no schedule “{letters}” can run."
    )
    expect(trail(page)).to_have_count(0)
    run(page, "B")
    assert fragment(page) == "#explore-lost=B"


def test_each_step_writes_the_link_and_no_history(visit):
    page = visit(lost().page("Lost"))
    entries = page.evaluate("history.length")
    run(page, "ABA")
    link = page.get_by_role("link", name="Link to this schedule")
    assert fragment(page) == "#explore-lost=ABA"
    assert link.evaluate("e => e.href") == page.url
    assert page.evaluate("history.length") == entries
    page.reload()
    expect(trail(page)).to_have_count(3)


def test_two_on_a_page_keep_apart(visit):
    page = visit(
        webpage(
            "Two",
            lost()._repr_html_(),
            locks()._repr_html_(),
            styles=[STYLE.read_text("utf-8")],
            scripts=[SCRIPT.read_text("utf-8")],
        ),
        "#explore-locks=A",
    )
    first, second = (
        page.locator(f"#{e.name}") for e in (lost(), locks())
    )
    expect(first.locator("[data-part=trail] li")).to_have_count(0)
    expect(second.locator("[data-part=trail] li")).to_have_count(1)
    first.get_by_role("button", name="Run one line of A").focus()
    page.keyboard.press("b")
    expect(first.locator("[data-part=trail] li")).to_have_count(1)
    expect(second.locator("[data-part=trail] li")).to_have_count(1)
    assert fragment(page) == "#explore-lost=B"
    second.get_by_role("button", name="Run one line of B").click()
    assert fragment(page) == "#explore-locks=AB"


# --- Playing ---


def stop_clock(page):
    """Let the page's time pass only as the test says."""
    page.clock.install(time=0)
    page.clock.pause_at(1000)


def test_a_schedule_plays_step_by_step(visit):
    page = visit(lost().page("Lost"))
    stop_clock(page)
    run(page, "B")
    press(page, "Play: count = 1")
    expect(trail(page)).to_have_count(0)
    for steps in (1, 2, 3, 4):
        page.clock.run_for(1000)
        expect(trail(page)).to_have_count(steps)
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )
    assert fragment(page) == "#explore-lost=ABAB"
    page.evaluate("history.replaceState(null, '', '#elsewhere')")
    page.clock.run_for(5000)
    assert fragment(page) == "#elsewhere"


@pytest.mark.parametrize(
    ("stop", "steps"),
    [
        (lambda page: run(page, "A"), 2),
        (lambda page: press(page, "Back"), 0),
        (lambda page: press(page, "Start again"), 0),
        (lambda page: press(page, LOSE), 0),
        (lambda page: page.keyboard.press("a"), 2),
        (
            lambda page: page.evaluate(
                "location.hash = 'explore-lost=BB'"
            ),
            2,
        ),
    ],
    ids=["run", "back", "again", "challenge", "key", "link"],
)
def test_any_other_control_stops_it(visit, stop, steps):
    page = visit(lost().page("Lost"))
    stop_clock(page)
    press(page, "Play: count = 2")
    page.clock.run_for(1000)
    expect(trail(page)).to_have_count(1)
    stop(page)
    expect(trail(page)).to_have_count(steps)
    page.clock.run_for(5000)
    expect(trail(page)).to_have_count(steps)


def test_with_reduced_motion_it_is_there_at_once(visit):
    page = visit(lost().page("Lost"), reduced_motion="reduce")
    stop_clock(page)
    press(page, "Play: count = 1")
    expect(trail(page)).to_have_count(4)
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )


# --- Challenges ---


def test_a_challenge_reached_in_the_fewest_steps(visit):
    page = visit(lost().page("Lost"))
    run(page, "A")
    press(page, LOSE)
    expect(status(page)).to_have_text(f"{LOSE}. {START}")
    button = page.locator("[data-act=goal]").first
    expect(button).to_have_attribute("aria-pressed", "true")
    run(page, "ABAB")
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible. "
        "Done in 4 steps; the fewest is 4."
    )


def test_a_challenge_reached_in_more_steps(visit):
    page = visit(locks().page("Locks"))
    press(page, "Finish")
    run(page, "AABABBB")
    expect(status(page)).to_contain_text("Done in 7 steps; 6 would do.")


def test_a_challenge_out_of_reach(visit):
    page = visit(lost().page("Lost"))
    press(page, LOSE)
    run(page, "A")
    expect(status(page)).not_to_contain_text("step back")
    run(page, "A")
    expect(status(page)).to_contain_text(
        "No way on from here ends so: step back."
    )
    press(page, "Back")
    expect(status(page)).not_to_contain_text("step back")
    press(page, "Start again")
    run(page, "AABB")
    expect(status(page)).to_contain_text(
        "The end: count = 2, possible. "
        "No way on from here ends so: step back."
    )


def test_a_challenge_that_nothing_reaches(visit):
    page = visit(lost().page("Lost"))
    press(page, THREE)
    expect(status(page)).to_have_text(
        f"{THREE}. {START} No schedule can do it: all 6 end otherwise."
    )


def test_a_challenge_is_left_by_its_button_and_by_playing(visit):
    page = visit(lost().page("Lost"), reduced_motion="reduce")
    button = page.locator("[data-act=goal]").first
    for leave in (button, page.locator("[data-act=play]").last):
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        leave.click()
        expect(button).to_have_attribute("aria-pressed", "false")
        press(page, "Start again")
        run(page, "AA")
        expect(status(page)).not_to_contain_text("step back")


def test_a_bounded_search_says_its_bound(visit):
    bounded = Explorer(
        Bounded(), name="explore-few", goals=[(THREE, "count = 3")]
    )
    page = visit(bounded.page("Few"))
    words = "Only the schedules with at most 1 preemption were run."
    expect(page.get_by_text(words).first).to_be_visible()
    press(page, THREE)
    expect(status(page)).to_contain_text(
        "No schedule with at most 1 preemption does it: "
        "all 6 end otherwise."
    )


# --- For everybody ---


def test_one_polite_region_tells_what_happens(visit):
    page = visit(lost().page("Lost"))
    regions = page.locator("[aria-live], [role=status], [role=alert]")
    expect(regions).to_have_count(1)
    expect(regions).not_to_have_attribute("aria-live", "assertive")
    page.evaluate(
        "window.said = [];"
        "const region = document.querySelector('[role=status]');"
        "new MutationObserver(() => said.push(region.textContent))"
        ".observe(region, {childList: true})"
    )
    run(page, "AB")
    run(page, "BB")
    expect(status(page)).to_have_text("B has ended.")
    assert page.evaluate("said") == [
        "A runs “seen = tally.count” (seen is 0). "
        "1 of 3 ways on from here: count = 2; 2 of 3: count = 1.",
        "B runs “seen = tally.count” (seen is 0). "
        "2 of 2 ways on from here: count = 1.",
        "B runs “tally.count = seen + 1” (count is 1, ends). "
        "1 of 1 ways on from here: count = 1.",
        "B has ended.",
    ]


def test_the_parts_have_names(visit):
    page = visit(lost().page("Lost"))
    box = page.get_by_role("group", name="You are the scheduler")
    expect(box).to_be_visible()
    for name in ("Challenge", "Schedule", "Thread A", "Thread B"):
        expect(box.get_by_role("group", name=name)).to_be_visible()
    names = page.locator("[aria-keyshortcuts]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-keyshortcuts'))"
    )
    assert names == ["Backspace", "r", "a", "b"]


def test_without_javascript_there_are_tables_and_no_buttons(visit):
    page = visit(locks().page("Locks"), java_script_enabled=False)
    expect(page.get_by_role("table")).to_have_count(2)
    for table in page.get_by_role("table").all():
        expect(table).to_be_visible()
    expect(page.locator("caption").last).to_have_text(
        "deadlock: possible, 4 of 8 schedules, for example ABAB. "
        "A waits for b, held by B; B waits for a, held by A."
    )
    expect(page.locator("pre")).to_have_count(2)
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.locator("details")).to_have_count(0)


def test_the_tables_are_folded(visit):
    page = visit(locks().page("Locks"))
    expect(page.locator("table").first).to_be_hidden()
    page.get_by_text("The same as tables").click()
    expect(page.locator("table").first).to_be_visible()


def test_print_shows_the_tables_instead(visit):
    page = visit(locks().page("Locks"))
    printed = "".join(
        sheet.extract_text()
        for sheet in PdfReader(io.BytesIO(page.pdf())).pages
    )
    assert "deadlock: possible, 4 of 8 schedules" in printed
    assert "with b: (waits for b)" in printed
    assert "You are the scheduler" not in printed
    assert "The same as tables" not in printed
    page.reload()
    page.emulate_media(media="print")
    expect(page.locator("table").first).to_be_visible()
    expect(page.locator(".explorer-live")).to_be_hidden()
    expect(page.locator("summary")).to_be_hidden()


def test_print_unfolds_the_tables_where_no_style_can(visit):
    page = visit(locks().page("Locks"))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("table").first).to_be_visible()


@pytest.mark.parametrize("explorer", [lost, locks, locked, four])
def test_a_narrow_page_does_not_scroll_sideways(visit, explorer):
    page = visit(
        explorer().page("Narrow"),
        viewport={"width": 360, "height": 740},
    )
    page.emulate_media(reduced_motion="reduce")
    page.locator("summary").click()
    for button in page.locator("[data-act=play]").all():
        button.click()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
    left = {
        box["x"]
        for box in (
            each.bounding_box()
            for each in page.locator(".explorer-lane").all()
        )
    }
    assert len(left) == 1


def test_the_lanes_of_a_wide_page_stand_side_by_side(visit):
    page = visit(lost().page("Wide"))
    first, second = (
        lane(page, letter).bounding_box() for letter in "AB"
    )
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] < second["x"]


#: For each text, the least contrast that WCAG asks, and what it has.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext(
    "2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = rgba(colour).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92
        : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return rgba(colour)[3] === 255 || !element.parentElement
      ? colour : ground(element.parentElement);
  };
  return [...document.querySelectorAll(".explorer *")]
    .filter((element) => element.checkVisibility()
      && [...element.childNodes].some((node) =>
        node.nodeType === 3 && node.data.trim()))
    .map((element) => {
      const [a, b] = [
        light(getComputedStyle(element).color), light(ground(element)),
      ].sort((x, y) => y - x);
      return [element.outerHTML, (a + 0.05) / (b + 0.05)];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("explorer", [locks, four])
def test_every_text_stands_out_from_its_ground(visit, explorer, scheme):
    page = visit(explorer().page("Colours"), color_scheme=scheme)
    if explorer is locks:
        press(page, "Finish")
    run(page, "ABA")
    page.locator("summary").click()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [pair for pair in found if pair[1] < 4.5] == []
    body = page.evaluate(
        "getComputedStyle(document.body).backgroundColor"
    )
    assert (
        body
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(20, 24, 30)",
        }[scheme]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_books_theme_decides_over_the_system(visit, theme):
    html = lost().page("Theme")
    colours = ":root { --pst-color-text-base: rgb(1, 2, 3) }"
    html = html.replace("</head>", f"<style>{colours}</style></head>")
    other = {"light": "dark", "dark": "light"}[theme]
    page = visit(html, color_scheme=other)
    expect(status(page)).to_have_css("color", "rgb(1, 2, 3)")


def test_forced_colours_leave_the_marks(visit):
    page = visit(lost().page("Forced"), forced_colors="active")
    fill = page.locator("[data-part=ways] li span span").first
    ground = page.evaluate(
        "getComputedStyle(document.body).backgroundColor"
    )
    expect(fill).not_to_have_css("background-color", ground)
    expect(fill).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_a_strict_policy_forbids_nothing_it_needs(visit, tmp_path):
    for file in (SCRIPT, STYLE):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    page = visit(
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        '<meta http-equiv="Content-Security-Policy" content="'
        "default-src 'none'; script-src file:; style-src file:; "
        "require-trusted-types-for 'script'\">"
        '<link rel="stylesheet" href="explorer.css">'
        '<script defer src="explorer.js"></script></head><body>'
        f"{lost()._repr_html_()}</body></html>"
    )
    run(page, "ABAB")
    expect(status(page)).to_contain_text(
        "The end: count = 1, possible."
    )
    bar = page.locator("[data-part=ways] li span span").last
    assert re.fullmatch("100%", bar.evaluate("e => e.style.width"))


# --- In the book ---

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = """\
---
file_format: mystnb
kernelspec: {name: python3}
---

# Small

```{code-cell} python3
from graphs import lock_order
from multithreading.lab.explorer import Explorer

Explorer(lock_order(), name="explore-locks", goals=[("Stop", "deadlock")])
```
"""


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    """Build a book of one chapter; return its page."""
    folder = tmp_path_factory.mktemp("theme") / "a book"
    folder.mkdir()
    (folder / "index.md").write_text(CHAPTER, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet"),
            *("--conf-dir", str(ROOT / "conf")),
            *("--define", f"book_outputs={folder / 'outputs'}"),
            *(str(folder), str(folder / "html")),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "conf")},
        capture_output=True,
        text=True,
        timeout=110,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return folder / "html" / "index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_the_book_it_stands_out_as_well(visit, chapter, scheme):
    page = visit(chapter, "#explore-locks=AB", color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    expect(trail(page)).to_have_count(2)
    press(page, "Stop")
    run(page, "ABAB")
    expect(status(page)).to_contain_text("Done in 4 steps")
    page.get_by_text("The same as tables").click()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [pair for pair in found if pair[1] < 4.5] == []


def test_in_the_book_it_is_as_narrow_as_the_page(visit, chapter):
    page = visit(
        chapter,
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    for letter in "ABAB":
        lane(page, letter).get_by_role("button").tap()
    expect(status(page)).to_contain_text("The end: deadlock, possible.")
    page.get_by_text("The same as tables").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert min(heights(page)) >= 44


def test_in_the_book_a_link_is_not_hidden_by_the_header(visit, chapter):
    page = visit(
        chapter,
        "#explore-locks=A",
        viewport={"width": 1280, "height": 400},
    )
    expect(trail(page)).to_have_count(1)
    expect(
        page.get_by_text("You are the scheduler")
    ).to_be_in_viewport()
    header = page.locator(".bd-header-article").bounding_box()
    title = page.get_by_text("You are the scheduler").bounding_box()
    assert title["y"] >= header["y"] + header["height"]
