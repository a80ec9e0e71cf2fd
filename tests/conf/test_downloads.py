"""What a chapter becomes when it is taken along."""

import ast
from types import SimpleNamespace

import nbformat
import pytest

from downloads import Plain, as_notebook, as_script, without_glue

ENV = SimpleNamespace(
    domains={
        "std": SimpleNamespace(
            labels={
                "locks-lost": ("locks", "locks-lost", "A lost update")
            },
            anonlabels={"lst-one": ("locks", "lst-one")},
        )
    },
    toc_fignumbers={"locks": {"code-block": {"lst-one": (7,)}}},
    config=SimpleNamespace(numfig_format={"code-block": "Listing %s"}),
)
PLAIN = Plain(ENV, {"cost": "42"})


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        ("(a-label)=\n# Title", "# Title"),
        ("```{index} single: lock\n```\n\nText.", "Text."),
        ("See {ref}`locks-lost`.", "See A lost update."),
        ("See {ref}`here <locks-lost>`.", "See here."),
        ("A {term}`lock`, {term}`locks <lock>`.", "A lock, locks."),
        ("It took {glue:text}`cost` ns.", "It took 42 ns."),
        ("{numref}`lst-one` shows it.", "Listing 7 shows it."),
        (
            "So it is {cite:p}`pep-703,pep-779`.",
            "So it is [pep-703]; [pep-779].",
        ),
        (
            "````{admonition} A solution\n:class: tip\n\nText.\n````",
            "> **A solution**\n> \n> Text.",
        ),
        ("```console\n$ nox\n```", "```console\n$ nox\n```"),
    ],
)
def test_what_only_myst_knows_becomes_plain(
    myst: str, markdown: str
) -> None:
    assert PLAIN.text(myst) == markdown


def test_a_listing_brings_its_code() -> None:
    text = PLAIN.text(
        "```{listing} multithreading.threads.locks:Tally\n"
        ":caption: What is shared\n```\n"
    )
    assert text.startswith("**What is shared**")
    assert "class Tally:" in text
    assert "import" not in text


def test_glue_goes_and_what_it_shows_stays() -> None:
    source = (
        "from myst_nb import glue\n\nglue('a', 1, display=False)\n"
        "x = 1\nglue(\n    'b',\n    x,\n)\nx"
    )
    assert without_glue(source) == "x = 1\nx"


def test_a_script_goes_on_where_a_cell_raises_and_awaits_what_it_can() -> (
    None
):
    chapter = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "1 / 0", metadata={"tags": ["raises-exception"]}
            ),
            nbformat.v4.new_code_cell(
                "import asyncio\nx = await asyncio.sleep(0, 'slept')"
            ),
            nbformat.v4.new_code_cell("print(x)\nassert x == 'slept'"),
        ]
    )
    script = as_script(as_notebook(chapter, PLAIN, "Head"))
    ast.parse(script)
    found: dict[str, object] = {"__file__": "script.py"}
    exec(script, found)  # noqa: S102
    assert found["x"] == "slept"
    assert "__file__" not in found
