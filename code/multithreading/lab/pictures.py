"""Figures for a page: vector, accessible, the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from multithreading.lab.recorder import Span

#: Colours told apart by every common form of colour vision, and by their
#: lightness in print. After Okabe and Ito, "Color Universal Design" (2008).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")

# Any: matplotlib lists its hundreds of settings as the only legal keys.
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10.0,
    "legend.frameon": False,
    # Outlines, so that every browser and the PDF draw the same letters.
    "svg.fonttype": "path",
    # Fixed element identifiers: equal data give equal bytes.
    "svg.hashsalt": "multithreading",
}


class Picture:
    """A figure, and the sentence that tells its content in words.

    A notebook shows it as SVG. The build takes the alternative text from
    ``alt`` and refuses a figure that has none.
    """

    def __init__(self, figure: Figure, alt: str) -> None:
        if not alt.strip():
            raise ValueError(
                "a Picture needs its content in words: pass alt="
            )
        self.figure = figure
        self.alt = alt

    def svg(self) -> str:
        """Return the figure as an SVG document without a date."""
        FigureCanvasSVG(self.figure)
        buffer = io.StringIO()
        with styled():
            self.figure.savefig(
                buffer,
                format="svg",
                bbox_inches="tight",
                metadata={"Date": None, "Creator": None},
            )
        # a hundredth of a point is finer than any screen
        return re.sub(
            r' d="[^"]*"',
            lambda path: re.sub(r"(?<=\.\d\d)\d+|\s*\n", "", path[0]),
            buffer.getvalue(),
        )

    def _repr_mimebundle_(
        self, **_: object
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        mime = "image/svg+xml"
        return {mime: self.svg()}, {mime: {"alt": self.alt}}

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


def styled() -> AbstractContextManager[object]:
    """Return the context in which figures of the book are drawn."""
    return mpl.rc_context(_STYLE)


def new_axes(
    width: float = 7.0, height: float = 3.0
) -> tuple[Figure, Axes]:
    """Return an empty figure, ``width`` by ``height`` inches, and its axes."""
    with styled():
        figure = Figure(figsize=(width, height))
        return figure, figure.add_subplot()


def lanes(
    spans: Sequence[Span],
    *,
    alt: str,
    unit: str = "s",
    states: Sequence[str] = (),
) -> Picture:
    """Draw one lane for each thread or process, time running to the right.

    Lanes stand in the order of their first span, and so do the colours
    of the states; two pictures to be compared name the same ``states``,
    which then have the same colours in both. Time counts from the
    earliest start, in seconds or, with ``unit="ms"``, in milliseconds.

    Raises ValueError where there is nothing to draw or more states than
    colours.
    """
    if not spans:
        raise ValueError("no span to draw: was anything recorded?")
    factor = {"s": 1.0, "ms": 1000.0}[unit]
    origin = min(span.start for span in spans)
    in_order = sorted(spans, key=lambda span: span.start)
    names = list(dict.fromkeys(span.lane for span in in_order))
    found = dict.fromkeys(span.state for span in in_order)
    order = list(dict.fromkeys([*states, *found]))
    if len(order) > len(PALETTE):
        raise ValueError(
            f"{len(order)} states, {len(PALETTE)} colours: "
            "draw fewer states"
        )
    figure, axes = new_axes(height=0.9 + 0.38 * len(names))
    with styled():
        for colour, state in zip(PALETTE, order, strict=False):
            if state not in found:
                continue
            chosen = [span for span in in_order if span.state == state]
            axes.barh(
                [names.index(span.lane) for span in chosen],
                [(s.end - s.start) * factor for s in chosen],
                left=[(s.start - origin) * factor for s in chosen],
                height=0.62,
                color=colour,
                label=state,
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"time in {unit}")
        axes.grid(axis="x", alpha=0.3)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=len(found)
        )
    return Picture(figure, alt)
