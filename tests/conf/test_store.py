"""A record is used where it is whole and still true, and nowhere else."""

import json
import os

import pytest

from notebooks import code_cells, parse
from store import RECORDS, Kept, Store, fill

CELL = "```{code-cell} python3\nprint(1)\n```\n"
TEXT = f"---\nfile_format: mystnb\n---\n\n{CELL}"
OUTPUT = {"output_type": "stream", "name": "stdout", "text": "1\n"}
MADE = {"when": "today"}
KEY = "0123456789abcdef"


@pytest.fixture
def kept():
    return Kept([[1, [OUTPUT]]], {}, 0.5, MADE)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "outputs")


def records(tmp_path):
    return sorted((tmp_path / "outputs").rglob("*.json"))


def test_what_is_kept_is_found_again(store, kept):
    store.save("a/chapter", KEY, kept)
    found = store.load("a/chapter", KEY)
    assert found is not None
    notebook = parse(TEXT)
    fill(notebook, found)
    (cell,) = code_cells(notebook)
    assert (cell.execution_count, cell.outputs) == (1, [OUTPUT])
    assert found.version() == kept.version()
    assert store.seconds("a/chapter") == 0.5
    assert store.load("another", KEY) is None
    assert store.load("a/chapter", "another") is None


def _swap(data: bytes) -> bytes:
    """Change what a record says, and leave it good JSON."""
    return data.replace(b"1\\\\n", b"2\\\\n").replace(
        b'"1\\n"', b'"2\\n"'
    )


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "changed": _swap,
    "another's": lambda _: b"\0" * 100,
    "no text": lambda _: bytes(range(128, 256)),
    "of another form": lambda _: b"{}\n{}",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_no_record(store, kept, tmp_path, damage):
    store.save("one", KEY, kept)
    (record,) = records(tmp_path)
    whole = record.read_bytes()
    record.write_bytes(DAMAGE[damage](whole))
    assert record.read_bytes() != whole
    assert store.load("one", KEY) is None
    assert store.seconds("one") == float("inf")
    store.save("one", KEY, kept)
    assert store.load("one", KEY) == kept


def test_a_folder_in_the_place_of_a_record_is_no_record(
    store, kept, tmp_path
):
    store.save("one", KEY, kept)
    (record,) = records(tmp_path)
    record.unlink()
    record.mkdir()
    assert store.load("one", KEY) is None


def test_each_state_of_a_file_has_its_record(
    store, kept, tmp_path, monkeypatch
):
    import store as module

    monkeypatch.setattr(module, "_now", lambda path: path.read_text())
    file = tmp_path / "file"
    for text in ("old", "new"):
        file.write_text(text)
        output = {**OUTPUT, "text": text}
        store.save(
            "one",
            KEY,
            kept._replace(
                cells=[(1, [output])], files={str(file): text}
            ),
        )
    for text in ("old", "new", "old"):
        file.write_text(text)
        found = store.load("one", KEY)
        assert found is not None
        assert found.cells[0][1][0]["text"] == text
    file.write_text("another")
    assert store.load("one", KEY) is None


def test_old_records_and_halves_are_thrown_away(store, kept, tmp_path):
    for number in range(RECORDS + 3):
        store.save("one", KEY, kept._replace(files={"x": str(number)}))
        for age, record in enumerate(records(tmp_path)):
            os.utime(record, (age, age))
    assert len(records(tmp_path)) == RECORDS
    folder = records(tmp_path)[0].parent
    of_the_dead = folder / "key.99999999"
    of_the_living = folder / f"key.{os.getpid()}"
    for half in (of_the_dead, of_the_living):
        half.write_text(json.dumps("half"))
    store.save("one", KEY, kept)
    assert not of_the_dead.exists()
    assert of_the_living.exists()
    of_the_living.unlink()
