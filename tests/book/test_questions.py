"""Every question leads to a section that answers it by running."""

import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
QUESTIONS = (BOOK / "reference" / "questions.md").read_text("utf-8")


def asked() -> dict[str, str]:
    """Return the answer to each question."""
    parts = re.split(r"^### (.+)$", QUESTIONS, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def sections() -> dict[str, str]:
    """Return the text of the section that each label stands before."""
    found = {}
    for page in BOOK.rglob("*.md"):
        text = page.read_text("utf-8")
        labelled = re.compile(
            r"^((?:\([\w-]+\)=\n|(?:^`{3}.*\n)|\n)+)(#+) .+$", re.M
        )
        for match in labelled.finditer(text):
            rest = text[match.end() :]
            end = re.search(rf"^#{{1,{len(match[2])}}} ", rest, re.M)
            section = rest[: end.start()] if end else rest
            for label in re.findall(r"\(([\w-]+)\)=", match[1]):
                found[label] = section
    return found


@pytest.mark.parametrize("question", asked())
def test_it_leads_to_a_section_that_runs(question):
    labels = re.findall(r"\{ref\}`([\w-]+)`", asked()[question])
    assert labels, "no section is named"
    for label in labels:
        assert "{code-cell}" in sections()[label], (
            f"the section of {label} runs nothing"
        )


def test_each_chapter_answers_a_question():
    led = set(re.findall(r"\{ref\}`([\w-]+)`", QUESTIONS))
    known = sections()
    for chapter in (BOOK / "threads").glob("*.md"):
        text = chapter.read_text("utf-8")
        labels = re.findall(r"^\(([\w-]+)\)=$", text, re.M)
        assert led & set(labels) & set(known), chapter.stem
