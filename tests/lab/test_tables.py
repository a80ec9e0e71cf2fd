import pytest

from multithreading.lab.tables import Table

ROWS = [
    {"name": "a|b", "count": 3},
    {"name": "longer", "count": None},
]


def test_a_page_gets_markdown_with_bars_escaped() -> None:
    assert Table(ROWS)._repr_markdown_() == (
        "| name | count |\n"
        "| --- | --- |\n"
        "| a\\|b | 3 |\n"
        "| longer | None |"
    )


def test_a_terminal_gets_columns() -> None:
    assert repr(Table(ROWS)) == (
        "name    count\na|b     3\nlonger  None"
    )


def test_a_table_needs_a_row() -> None:
    with pytest.raises(ValueError, match="needs a row"):
        Table([])


def test_rows_must_agree_on_their_columns() -> None:
    with pytest.raises(ValueError, match=r"\['label'\]"):
        Table([{"name": 1}, {"label": 2}])


def test_a_table_of_one_row():
    table = Table([{"a": 1}])
    assert (table.header, table.cells) == (["a"], [["1"]])
