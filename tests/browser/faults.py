"""What may be wrong with a page, each found by one function.

A function takes an open page, or what was heard of it, and returns
sentences, none where all is well. ``test_faults.py`` shows each one a
page made bad for it; ``lighthouse.py`` has the faults of a whole visit.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KIB = 1024
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


def accessibility(page: Any) -> list[str]:
    """What axe finds, with the first place of each fault.

    Of the words of a block of code it sees three of each kind: all look
    as these do, and to judge each takes most of the time.
    """
    page.evaluate(
        """() => {
            const kind = (word, block) => word === block ? "" : kind(
                word.parentElement, block) + "/" + word.className;
            const more = [];
            for (const block of document.querySelectorAll("pre")) {
                const seen = new Map();
                for (const word of block.querySelectorAll("span")) {
                    const names = word.getAttributeNames();
                    if (names.some(name => name !== "class")) continue;
                    const its = kind(word, block) + word.checkVisibility();
                    const count = (seen.get(its) ?? 0) + 1;
                    seen.set(its, count);
                    if (count > 3) more.push(word);
                }
            }
            // only now, for after a change a look takes long
            for (const word of more) word.replaceWith(...word.childNodes);
        }"""
    )
    # not as a tag: the book's policy refuses inline scripts
    axe = NODE / "axe-core" / "axe.min.js"
    page.evaluate(axe.read_text("utf-8"))
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
    found = page.evaluate(
        """async () => {
            // What a frame moves is known when the next one begins.
            for (let frame = 0; frame < 2; frame++)
                await new Promise(requestAnimationFrame);
            window.noteShifts(window.shiftObserver.takeRecords());
            return window.shifts;
        }"""
    )
    return [
        f"moved by {value:.4f}: {html}"
        for value, html in found
        if value >= 0.001  # less is not to be seen
    ]


def watch_shifts(page: Any) -> None:
    """Have the pages opened from now on note what moves."""
    page.add_init_script(
        """window.shifts = [];
        window.noteShifts = entries => {
            for (const entry of entries)
                if (!entry.hadRecentInput) window.shifts.push([
                    entry.value,
                    entry.sources[0]?.node?.outerHTML?.slice(0, 120) ?? "",
                ]);
        };
        window.shiftObserver = new PerformanceObserver(
            list => window.noteShifts(list.getEntries()));
        window.shiftObserver.observe(
            {type: "layout-shift", buffered: true});"""
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


@dataclass
class Heard:
    """What a page asked for and complained of, from its opening on."""

    page: Any
    asked: list[Any] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def listen(page: Any) -> Heard:
    """Note what the page asks for and complains of from now on.

    What a page gives up itself, and what it leaves behind when the
    reader goes on, did not fail.
    """
    heard = Heard(page)
    told = heard.complaints.append

    def said(message: Any) -> None:
        if message.type in {"error", "assert"}:
            told(f"on the console: {message.text}")

    def failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":
            told(f"{request.failure}: {request.url}")

    def answered(response: Any) -> None:
        if response.status >= 400:
            told(f"answered {response.status}: {response.url}")

    page.on("request", lambda asked: heard.asked.append(asked))
    page.on("requestfinished", lambda got: heard.received.append(got))
    page.on("websocket", lambda made: heard.sockets.append(made.url))
    page.on("pageerror", lambda error: told(f"uncaught: {error}"))
    page.on("console", said)
    page.on("requestfailed", failed)
    page.on("response", answered)
    page.expose_binding(
        "refused", lambda _, what: heard.refused.append(what)
    )
    page.add_init_script(
        """addEventListener("securitypolicyviolation", (told) => refused(
            `${told.effectiveDirective} refuses ${told.blockedURI} at `
            + `${told.sourceFile || told.documentURI}:${told.lineNumber} `
            + told.sample));"""
    )
    return heard


def errors(heard: Heard) -> list[str]:
    """What failed: the page's script, or a request."""
    return list(heard.complaints)


def refusals(heard: Heard) -> list[str]:
    """What the policy refused that the page was served with."""
    return list(dict.fromkeys(heard.refused))


def foreign(heard: Heard, base: str) -> list[str]:
    """What is asked of another host than the book's.

    ``base`` is the book's address without the last slash.
    """
    asked = [request.url for request in heard.asked]
    return [
        f"asks for {url}"
        for url in dict.fromkeys(asked + heard.sockets)
        if not url.startswith((f"{base}/", "data:"))
    ]


def readied(page: Any, base: str) -> list[str]:
    """What other host the browser is told to call, with no request yet."""
    found = page.evaluate(
        """base => [...document.querySelectorAll(
            "link[rel~=preconnect], link[rel~=dns-prefetch]"
        )].map(link => link.href).filter(url => !url.startsWith(base))""",
        f"{base}/",
    )
    return [f"calls {url}" for url in found]


def sizes(heard: Heard) -> dict[str, int]:
    """Return the bytes of all that the page received, as they were sent.

    What stands in the page itself, as ``data:``, counts there.
    """
    found: dict[str, int] = {}
    for request in heard.received:
        if not request.url.startswith("data:"):
            size = request.sizes()["responseBodySize"]
            found[request.url] = found.get(request.url, 0) + size
    return found


def requests(heard: Heard) -> int:
    """Return how often the page asked for something."""
    return sum(
        not request.url.startswith("data:") for request in heard.asked
    )


def weight(heard: Heard, kib: int = 110, most: int = 20) -> list[str]:
    """What makes the page slow to fetch: its bytes, or its requests.

    The page must have been opened with nothing kept from another.
    """
    faults = []
    found = sizes(heard)
    if (size := sum(found.values())) > kib * KIB:
        url, worst = max(found.items(), key=lambda item: item[1])
        faults.append(
            f"weighs {size / KIB:.1f} KiB, {worst / KIB:.1f} in {url}"
        )
    if (count := requests(heard)) > most:
        faults.append(f"asks {count} times")
    return faults
