"""Figures take the page's colours, and keep to themselves."""

from page import themed

SVG = """<?xml version="1.0"?>
<!DOCTYPE svg>
<svg width="10pt" viewBox="0 0 1 1" xmlns="http://www.w3.org/2000/svg">
<metadata>who, and when</metadata>
<defs><path id="a" d="M0 0"/></defs>
<defs>
<style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style>
</defs>
<path id="unused" d="M0 0"/><!-- a label -->
<path id="DejaVuSans-13" d="M1.23456 0" transform="scale(0.015625)"/>
<use href="#DejaVuSans-13"/>
<use xlink:href="#a" style="stroke: #000000; fill: #0072b2"/>
<path d="M1 1" style="fill: none; font: 9px Literata"/>
<rect clip-path="url(#a)" fill="black"/>
</svg>"""


def test_black_follows_the_page_and_colours_stay() -> None:
    page = themed(SVG, "one", "words", set())
    assert "#000000" not in page
    assert "black" not in page
    assert page.count("currentColor") == 3
    assert 'fill="#0072b2"' in page


def test_styles_become_attributes_which_no_policy_refuses() -> None:
    page = themed(SVG, "one", "words", set())
    assert (
        '<use href="#one-a" stroke="currentColor" fill="#0072b2"/>'
        in (page)
    )
    root = page[: page.index(">")]
    assert 'stroke-linejoin="round" stroke-linecap="butt"' in root
    assert "<style" not in page
    assert "<defs></defs>" not in page


def test_what_no_attribute_can_say_is_not_lost() -> None:
    page = themed(SVG, "one", "words", set())
    assert 'style="fill: none; font: 9px Literata"' in page


def test_identifiers_of_two_figures_do_not_meet() -> None:
    page = themed(SVG, "one", "words", set())
    assert 'id="one-a"' in page
    assert 'href="#one-a"' in page
    assert "url(#one-a)" in page


def test_only_the_element_is_left_with_its_words() -> None:
    page = themed(SVG, "one", 'a "quoted" word', set())
    assert page.startswith('<svg role="img" ')
    assert "metadata" not in page
    assert 'aria-label="a &quot;quoted&quot; word"' in page


def test_glyphs_are_drawn_once_in_a_page_and_other_strokes_each_time() -> (
    None
):
    drawn: set[str] = set()
    one = themed(SVG, "one", "words", drawn)
    two = themed(SVG, "two", "words", drawn)
    assert one.count('<path id="DejaVuSans-13"') == 1
    assert '<path id="DejaVu' not in two
    for page in (one, two):
        assert '<use href="#DejaVuSans-13"/>' in page
    assert '<path id="two-a"' in two


def test_what_nobody_sees_is_left_out() -> None:
    page = themed(SVG, "one", "words", set())
    assert "unused" not in page
    assert "<!--" not in page
    assert 'd="M1.23 0" transform="scale(0.015625)"' in page
    assert "> <" not in page.replace("\n", " ")
