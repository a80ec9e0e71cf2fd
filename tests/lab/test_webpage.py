import re

import pytest
from bs4 import BeautifulSoup

from multithreading.lab.webpage import webpage


def test_the_title_is_text_and_the_parts_are_html():
    text = webpage("a <b> & c", "<p>one</p>", "<p>two</p>")
    page = BeautifulSoup(text, "html.parser")
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert page.main.h1.get_text() == "a <b> & c"
    assert [p.get_text() for p in page.main("p")] == ["one", "two"]


def test_the_page_names_its_language_encoding_and_width():
    text = webpage("title")
    page = BeautifulSoup(text, "html.parser")
    assert text.startswith("<!DOCTYPE html>\n")
    assert page.html["lang"] == "en"
    assert page.meta["charset"] == "utf-8"
    width = page.find("meta", {"name": "viewport"})
    assert width["content"] == "width=device-width"


def test_styles_follow_the_pages_own_and_scripts_follow_the_parts():
    text = webpage(
        "title",
        "<p>part</p>",
        styles=["p { margin: 0 }", "b { color: red }"],
        scripts=["one()", "two()"],
    )
    order = ["color-scheme", "margin: 0", "color: red", "part</p>"]
    places = [text.index(word) for word in [*order, "one()", "two()"]]
    assert places == sorted(places)


def test_a_page_asks_for_nothing_from_outside():
    assert not re.search(r"https?:|<link|@import|url\(", webpage("t"))


def test_what_would_end_a_sheet_or_a_script_early_is_refused():
    with pytest.raises(ValueError, match="a script of the page 't'"):
        webpage("t", scripts=["'</SCRIPT>'"])
    with pytest.raises(ValueError, match="a style of the page 't'"):
        webpage("t", styles=["/* </style> */"])
