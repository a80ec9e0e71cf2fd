"""Two copies of the book differ where they must not, and that is told."""

import json

import pytest

import repro

CHAPTER = """---
file_format: mystnb
kernelspec: {name: python3}
---
# One

```{code-cell} python3
:tags: [measured]
glue("time", 1, display=False)
```

```{code-cell} python3
glue("count", 2, display=False)
```

{glue:text}`time` and {glue:text}`count`
"""
PAGE = """<article>
<div class="cell tag_measured docutils"><div class="cell_input">code</div>
<div class="cell_output">%(measured)s</div></div>
<div class="cell docutils"><div class="cell_output">%(other)s</div></div>
<span class="pasted-text">%(time)s</span> and
<span class="pasted-text">%(count)s</span></article>
"""
SHOWN = {"measured": "5 ms", "other": "42", "time": "1", "count": "2"}


def notebook(measured, other):
    cells = [
        {
            "cell_type": "code",
            "source": "code",
            "metadata": {"tags": tags},
            "outputs": [output],
        }
        for tags, output in ((["measured"], measured), ([], other))
    ]
    return json.dumps({"cells": cells})


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Return two copies of a book of one page, and its folder."""
    monkeypatch.setattr(repro, "ROOT", tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "one.md").write_text(CHAPTER, "utf-8")
    both = tmp_path / "a", tmp_path / "b"
    for copy in both:
        (copy / "doctrees").mkdir(parents=True)
        (copy / "doctrees" / "kept").write_text(str(copy))
        (copy / "_static").mkdir()
        (copy / "_static" / "search-data.js").write_text(str(copy))
        (copy / "page.css").write_text("p {}")
        (copy / "one.html").write_text(PAGE % SHOWN)
        (copy / "one.ipynb").write_text(notebook("5 ms", "42"))
    return both


def found(copies):
    return list(repro.different(*copies, repro.unmeasured))


def test_equal_copies_have_no_difference(copies):
    assert found(copies) == []
    for copy in copies:
        (copy / "_static" / "search-data.js").unlink()
    assert list(repro.different(*copies, repro.as_it_is)) == []


def test_byte_for_byte_nothing_may_differ(copies):
    (copies[0] / "one.html").write_text(PAGE % (SHOWN | {"time": "3"}))
    assert list(repro.different(*copies, repro.as_it_is)) == [
        "_static/search-data.js",
        "one.html",
    ]


@pytest.mark.parametrize("what", ["measured", "time"])
def test_what_is_measured_may_differ(copies, what):
    (copies[1] / "one.html").write_text(PAGE % (SHOWN | {what: "9"}))
    assert found(copies) == []


@pytest.mark.parametrize("what", ["other", "count"])
def test_what_is_not_measured_may_not_differ(copies, what):
    (copies[1] / "one.html").write_text(PAGE % (SHOWN | {what: "9"}))
    assert found(copies) == ["one.html"]


@pytest.mark.parametrize(
    ("measured", "other", "differ"),
    [("6 ms", "42", []), ("5 ms", "43", ["one.ipynb"])],
)
def test_a_notebook_is_compared_cell_by_cell(
    copies, measured, other, differ
):
    (copies[1] / "one.ipynb").write_text(notebook(measured, other))
    assert found(copies) == differ


def test_a_file_of_one_copy_alone_is_named(copies):
    (copies[1] / "page.css").unlink()
    assert found(copies) == ["page.css: in one alone"]
