"""What may be wrong with a page, each found by one function.

A function takes an open page, its weight or its report, and returns
sentences, none where all is well. ``test_faults.py`` shows each one a
page made bad for it.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

NODE = Path(__file__).resolve().parents[2] / "build/node/node_modules"

#: WCAG 2.2 to level AA, and what axe calls best practice.
RULES = (
    "wcag2a",
    "wcag2aa",
    "wcag21a",
    "wcag21aa",
    "wcag22aa",
    "best-practice",
)


#: What a page may weigh with all that it loads, compressed (bytes), and
#: how many requests it may make.
HEAVIEST, MOST_REQUESTS = 110 * 1024, 20

#: The performance, of 100, that Lighthouse must find on each device.
LEAST = {"mobile": 95, "desktop": 100}
#: Seconds to the first paint, as Lighthouse reckons it, and the layout shift.
LATEST_PAINT, LARGEST_SHIFT = 1.5, 0.001


def noise(page: Any, base: str) -> list[str]:
    """Fill the list returned with errors, and with what is asked elsewhere.

    To be called before the page is opened. ``base`` begins the addresses
    that are the book's own.
    """
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console",
        lambda said: said.type == "error" and found.append(said.text),
    )
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((base, "data:"))
            or found.append(f"asks for {asked.url}")
        ),
    )
    return found


def weight(
    page: Any, address: str, size: Callable[[str], int]
) -> tuple[int, int]:
    """Open a page; return its bytes, as sent, and its requests' count.

    ``size`` tells the bytes that the answer to an address has.
    """
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, wait_until="networkidle")
    return sum(map(size, asked)), len(asked)


def heavy(size: int, requests: int) -> list[str]:
    """What of a page's weight is too much."""
    found = []
    if size > HEAVIEST:
        found.append(
            f"weighs {size / 1024:.1f} KiB of {HEAVIEST / 1024:.0f}"
        )
    if requests > MOST_REQUESTS:
        found.append(f"makes {requests} requests of {MOST_REQUESTS}")
    return found


def lighthouse(url: str, device: str, chromium: str) -> dict[str, Any]:
    """Return Lighthouse's report on a page, as it prints it.

    ``chromium`` is the program and its arguments, with a blank between
    each. Raises AssertionError, with Lighthouse's words, if it fails.
    """
    program, *arguments = chromium.split(" ")
    done = subprocess.run(
        [
            str(NODE / ".bin" / "lighthouse"),
            *(url, "--output=json", "--quiet"),
            *(["--preset=desktop"] if device == "desktop" else []),
            "--chrome-flags=" + " ".join(["--headless", *arguments]),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "CHROME_PATH": program},
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def slow(report: dict[str, Any], device: str) -> list[str]:
    """What Lighthouse says is slow; this depends on the machine, too."""
    score = round(100 * report["categories"]["performance"]["score"])
    paint = report["audits"]["first-contentful-paint"]
    seconds = paint["numericValue"] / 1000
    found = []
    if score < LEAST[device]:
        found.append(f"performance: {score} of 100")
    if seconds > LATEST_PAINT:
        found.append(f"first paint after {seconds:.2f} s")
    return found


def amiss(report: dict[str, Any]) -> list[str]:
    """What Lighthouse finds that no machine's speed explains."""
    audits = report["audits"]
    found = [
        f"{key}: {round(100 * category['score'])} of 100"
        for key, category in report["categories"].items()
        if key != "performance" and category["score"] < 1
    ]
    shift = audits["cumulative-layout-shift"]["numericValue"]
    if shift >= LARGEST_SHIFT:
        found.append(f"layout shift {shift:.3f}")
    if found:
        found += [
            f"{audit['id']}: {audit['title']}"
            for audit in audits.values()
            if audit["scoreDisplayMode"] == "binary"
            and audit["score"] == 0
        ]
    return found


def accessibility(page: Any) -> list[str]:
    """What axe finds, with the first place of each fault."""
    page.add_script_tag(path=NODE / "axe-core" / "axe.min.js")
    found = page.evaluate(
        """async rules => {
            const options = {preload: false,
                             runOnly: {type: "tag", values: rules},
                             resultTypes: ["violations"]};
            const {violations} = await axe.run(document, options);
            return violations.map(v => `${v.id}: ${v.nodes[0].html}`
                                       + ` (${v.nodes.length} in all)`);
        }""",
        list(RULES),
    )
    return list(found)


def sideways(page: Any) -> list[str]:
    """What makes the page wider than its window."""
    found = page.evaluate(
        """() => {
            const wide = document.documentElement.clientWidth;
            if (document.scrollingElement.scrollWidth <= wide) return [];
            const scrolls = (e) => e && (
                /auto|scroll|hidden/.test(getComputedStyle(e).overflowX)
                || scrolls(e.parentElement));
            return [...document.body.querySelectorAll("*")].filter(e =>
                e.getBoundingClientRect().right > wide + 1
                && !scrolls(e.parentElement)
            ).map(e => `too wide: ${e.outerHTML.slice(0, 120)}`)
             .slice(0, 3).concat(["the page scrolls sideways"]);
        }"""
    )
    return list(found)


def motion(page: Any) -> list[str]:
    """What moves although the reader wants nothing to move."""
    found = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(e => {
            const style = getComputedStyle(e);
            const moves = s => s.split(",").some(t => parseFloat(t) > 0);
            return moves(style.transitionDuration)
                || (style.animationName !== "none"
                    && moves(style.animationDuration));
        }).map(e => `moves: ${e.outerHTML.slice(0, 120)}`).slice(0, 3)"""
    )
    return list(found)


def lines(page: Any, most: int = 75) -> list[str]:
    """What is set in lines of more characters than can be read at ease.

    Counted are the lines that are full, so not a paragraph's last.
    """
    found = page.evaluate(
        """most => {
            const long = [];
            const range = document.createRange();
            for (const p of document.querySelectorAll("article p")) {
                const tops = [];
                const texts = document.createTreeWalker(p, 4);
                for (let t = texts.nextNode(); t; t = texts.nextNode())
                    for (let at = 0; at < t.length; at++) {
                        range.setStart(t, at);
                        range.setEnd(t, at + 1);
                        const {bottom, width} = range.getBoundingClientRect();
                        if (width) tops.push(bottom);
                    }
                const height = parseFloat(getComputedStyle(p).lineHeight);
                let count = 0, lines = 0, last = tops[0];
                for (const [at, top] of tops.entries())
                    if (top - last > height / 2) {
                        [last, lines, count] = [top, lines + 1, at];
                    }
                if (lines > 2 && count / lines > most) long.push(
                    `${(count / lines).toFixed()} characters a line: `
                    + p.textContent.slice(0, 60));
            }
            return long;
        }""",
        most,
    )
    return list(found)


def keyboard(page: Any) -> list[str]:
    """What the Tab key does not reach, or reaches without showing it.

    The first stop must be the link to the text, and that must lead there.
    """
    faults = []
    wanted = page.evaluate(
        """() => {
            let number = 0;
            const reached = "a[href], button, input, summary, [tabindex='0']";
            for (const e of document.querySelectorAll(reached)) {
                if (e.tabIndex >= 0 && !e.disabled
                    && e.checkVisibility({visibilityProperty: true}))
                    e.dataset.stop = number++;
            }
            return number;
        }"""
    )
    seen = set()
    for stop in range(wanted + 5):
        page.keyboard.press("Tab")
        about = page.evaluate(
            """() => {
                const e = document.activeElement;
                const style = getComputedStyle(e);
                return {
                    stop: e.dataset.stop ?? null,
                    html: e.outerHTML.slice(0, 120),
                    href: e.getAttribute("href"),
                    shown: style.outlineStyle !== "none"
                        && parseFloat(style.outlineWidth) >= 2,
                };
            }"""
        )
        if stop == 0 and about["href"] != "#main-content":
            faults.append(f"the first stop is {about['html']}")
        if about["stop"] is None:
            break
        seen.add(about["stop"])
        if not about["shown"]:
            faults.append(f"focus does not show on {about['html']}")
    if len(seen) < wanted:
        missing = next(n for n in range(wanted) if str(n) not in seen)
        html = page.locator(f"[data-stop='{missing}']").first.evaluate(
            "e => e.outerHTML.slice(0, 120)"
        )
        faults.append(
            f"Tab reaches {len(seen)} of {wanted}, not {html}"
        )
    return faults


def shifts(page: Any) -> list[str]:
    """What moved on the page without the reader's doing.

    ``watch_shifts`` must have been called before the page was opened.
    """
    found = page.evaluate("window.shifts")
    return [
        f"moved by {value:.4f}: {html}"
        for value, html in found
        if value >= 0.001  # less is not to be seen
    ]


def watch_shifts(page: Any) -> None:
    """Have the pages opened from now on note what moves."""
    page.add_init_script(
        """window.shifts = [];
        new PerformanceObserver(list => {
            for (const entry of list.getEntries())
                if (!entry.hadRecentInput) window.shifts.push([
                    entry.value,
                    entry.sources[0]?.node?.outerHTML?.slice(0, 120) ?? "",
                ]);
        }).observe({type: "layout-shift", buffered: true});"""
    )


def printing(page: Any) -> list[str]:
    """What paper would lose: what is closed, cut off or only for a screen.

    The page must have been told to show itself as printed.
    """
    found = page.evaluate(
        """() => {
            const faults = [];
            const told = (what, e) =>
                faults.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
            const article = document.querySelector("article");
            for (const e of article.querySelectorAll("details > *"))
                if (!e.checkVisibility({contentVisibilityAuto: true}))
                    told("closed", e);
            for (const e of article.querySelectorAll("pre, table, svg"))
                if (e.checkVisibility()
                    && (e.scrollWidth > e.clientWidth + 1
                        && e.tagName !== "svg"
                        || e.getBoundingClientRect().right > innerWidth + 1))
                    told("cut off", e);
            for (const e of document.querySelectorAll(
                    "button, input, .bd-sidebar, .prev-next-area"))
                if (e.checkVisibility()) told("only for a screen", e);
            return faults.slice(0, 5);
        }"""
    )
    return list(found)


def unread_in_forced_colours(page: Any) -> list[str]:
    """What is told by a colour that a forced palette takes away.

    The page must have been opened with forced colours: a chosen button
    and the current chapter must still differ from their neighbours.
    """
    found = page.evaluate(
        """() => {
            const look = e => {
                const s = getComputedStyle(e);
                return [s.outlineStyle, s.borderTopStyle + s.borderTopWidth,
                        s.borderLeftStyle + s.borderLeftWidth, s.fontWeight,
                        s.textDecorationLine, s.backgroundColor].join();
            };
            const pairs = [
                [".modes .active", ".modes .btn:not(.active)"],
                [".bd-links a.current", ".bd-links a:not(.current)"],
            ];
            return pairs.map(pair => pair.map(
                name => document.querySelector(name))
            ).filter(([one, two]) => one && two && look(one) === look(two)
            ).map(([one]) => `looks as the others: ${one.outerHTML}`);
        }"""
    )
    return list(found)
