import re

import matplotlib as mpl
import pytest

from multithreading.lab.pictures import (
    PALETTE,
    Picture,
    lanes,
    new_axes,
)
from multithreading.lab.recorder import Span

SPANS = [
    Span("second", "asleep", 10.5, 11.0),
    Span("first", "awake", 10.0, 10.25),
    Span("first", "asleep", 10.25, 10.5),
]


def _bars(picture: Picture) -> list[tuple[float, float, float]]:
    """Return the lane, the start and the length of every bar."""
    (axes,) = picture.figure.axes
    return sorted(
        (
            bar.get_y() + bar.get_height() / 2,
            bar.get_x(),
            bar.get_width(),
        )
        for bar in axes.patches
    )


def test_lanes_count_from_the_first_start() -> None:
    picture = lanes(SPANS, alt="Two lanes.")
    assert _bars(picture) == [
        pytest.approx((0, 0.0, 0.25)),
        pytest.approx((0, 0.25, 0.25)),
        pytest.approx((1, 0.5, 0.5)),
    ]


def test_lanes_stand_in_the_order_of_their_first_span() -> None:
    (axes,) = lanes(SPANS, alt="Two lanes.").figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["first", "second"]
    assert axes.yaxis_inverted()


def test_lanes_can_count_milliseconds() -> None:
    picture = lanes(SPANS, alt="Two lanes.", unit="ms")
    assert _bars(picture)[-1] == pytest.approx((1, 500.0, 500.0))
    (axes,) = picture.figure.axes
    assert axes.get_xlabel() == "time in ms"


def test_each_state_has_its_colour() -> None:
    (axes,) = lanes(SPANS, alt="Two lanes.").figure.axes
    colours = {
        container.get_label(): container.patches[0].get_facecolor()
        for container in axes.containers
    }
    assert list(colours) == ["awake", "asleep"]
    assert len(set(colours.values())) == 2


def test_two_pictures_can_agree_on_their_colours() -> None:
    states = ["lost", "asleep"]
    (whole,) = lanes(SPANS, alt="All.", states=states).figure.axes
    (part,) = lanes(SPANS[:1], alt="One.", states=states).figure.axes

    def colours(axes):
        return {
            bars.get_label(): bars.patches[0].get_facecolor()
            for bars in axes.containers
        }

    assert set(colours(whole)) == {"asleep", "awake"}
    assert set(colours(part)) == {"asleep"}
    assert colours(whole)["asleep"] == colours(part)["asleep"]


def test_lanes_refuse_nothing_and_too_much() -> None:
    with pytest.raises(ValueError, match="no span"):
        lanes([], alt="Nothing.")
    many = [
        Span("lane", f"state {n}", n, n + 1)
        for n in range(len(PALETTE) + 1)
    ]
    with pytest.raises(ValueError, match="fewer states"):
        lanes(many, alt="Too much.")
    assert lanes(many[1:], alt="As much as there may be.")


def test_equal_data_give_equal_bytes_without_a_date() -> None:
    one, two = (lanes(SPANS, alt="Two lanes.").svg() for _ in range(2))
    assert one == two
    assert "<dc:date>" not in one


def test_outlines_are_no_finer_than_the_eye() -> None:
    svg = lanes(SPANS, alt="Two lanes.").svg()
    outlines = re.findall(r' d="([^"]*)"', svg)
    assert outlines
    assert not any(re.search(r"\.\d\d\d|\n", d) for d in outlines)


def test_a_picture_offers_itself_and_its_words() -> None:
    picture = lanes(SPANS, alt="Two lanes.")
    data, about = picture._repr_mimebundle_()
    assert data["image/svg+xml"].lstrip().startswith("<?xml")
    assert about["image/svg+xml"] == {"alt": "Two lanes."}
    assert "0x" not in repr(picture)


def test_a_picture_without_words_is_refused() -> None:
    figure, _ = new_axes()
    with pytest.raises(ValueError, match="alt="):
        Picture(figure, "  ")


def test_drawing_leaves_the_settings_of_the_program_alone() -> None:
    before = dict(mpl.rcParams)
    lanes(SPANS, alt="Two lanes.").svg()
    assert dict(mpl.rcParams) == before
