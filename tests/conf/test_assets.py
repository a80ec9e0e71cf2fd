"""What is cut from style sheets and fonts matches nothing."""

from io import BytesIO
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from assets import cut, shrink, without_unused_properties

FONT = (
    Path(__file__).resolve().parents[2]
    / "conf/fonts/literata-regular.woff2"
)


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".a{color:red}", ".a{color:red}"),
        (".b{color:red}", ""),
        (".a .b{color:red}", ""),
        (".a,.b{color:red}", ".a{color:red}"),
        ("p:not(.b){color:red}", "p:not(.b){color:red}"),
        ("p:is(.a,.b){color:red}", "p:is(.a,.b){color:red}"),
        ("#b{color:red}", "#b{color:red}"),
        ("/* why */.a{color:red}", ".a{color:red}"),
        (".a{}", ""),
        ("@media print{.b{color:red}}", ""),
        ("@media print{.a{color:red}}", "@media print{.a{color:red}}"),
        ("@keyframes b{from{top:0}}", "@keyframes b{from{top:0}}"),
        ('.a{content:"\\f0c9"}', '.a{content:"\uf0c9"}'),
    ],
)
def test_a_rule_goes_where_no_page_has_its_class(
    css: str, kept: str
) -> None:
    assert cut(css, {"a"}) == kept


def test_a_property_goes_that_no_rule_reads() -> None:
    css = (
        ":root{--x:1;--y:var(--x);--z:2;--u:url('a;b')}p{top:var(--z)}"
    )
    assert (
        without_unused_properties(css) == ":root{--z:2;}p{top:var(--z)}"
    )


def test_a_property_stays_that_another_needs_which_is_read() -> None:
    css = ":root{--x:1;--y:var(--x)}p{top:var(--y)}"
    assert without_unused_properties(css) == css


def test_a_font_keeps_the_characters_shown() -> None:
    whole = FONT.read_bytes()
    small = shrink(whole, "Thread")
    assert len(small) < len(whole) / 2
    known = set(TTFont(BytesIO(small)).getBestCmap())
    assert known == {ord(c) for c in "Thread"}
    assert small == shrink(whole, "Thread")
