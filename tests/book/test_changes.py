"""Every correction of the source has its place, and the place knows it."""

import re
from pathlib import Path

BOOK = Path(__file__).resolve().parents[2] / "book"
CHANGES = (BOOK / "reference" / "changes.md").read_text("utf-8")

#: What the source chapter gets wrong, one word for each.
ERRATA = (
    "threading-age",
    "exposes-all",
    "active-count",
    "current-thread",
    "enumerate",
    "start",
    "join",
    "is-alive",
    "name",
    "run",
    "init",
    "acquire",
    "bare-acquire",
    "serial",
    "parameters",
    "question",
    "remote",
    "dummy",
    "urllib2",
    "timings",
    "process-order",
    "references",
)


#: What no interpreter of today can run; the place cites its source.
HISTORY = {"threading-age", "references"}


def rows() -> dict[str, str]:
    """Return the text of each row, by its label."""
    parts = re.split(r"^\(change-([\w-]+)\)=\n", CHANGES, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def places() -> dict[str, list[tuple[Path, str]]]:
    """Return, by label, the page and the text of each section that shows."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for page in sorted(BOOK.rglob("*.md")):
        text = page.read_text("utf-8")
        pattern = re.compile(
            r"^\(erratum-([\w-]+)\)=\n(?:\([\w-]+\)=\n|\n)*(#+ .+)$",
            re.M,
        )
        for match in pattern.finditer(text):
            level = match[2].split()[0]
            rest = text[match.end() :]
            end = re.search(rf"^#{{1,{len(level)}}} ", rest, re.M)
            section = rest[: end.start()] if end else rest
            found.setdefault(match[1], []).append((page, section))
    return found


def test_every_erratum_has_its_row_in_order_of_the_source():
    assert sorted(rows()) == sorted(ERRATA)


def test_every_row_leads_to_its_place():
    for label, text in rows().items():
        assert f"{{ref}}`erratum-{label}`" in text, label


def test_every_place_exists_once_shows_by_running_and_leads_back():
    found = places()
    assert sorted(found) == sorted(ERRATA)
    for label, where in found.items():
        assert len(where) == 1, (label, where)
        page, section = where[0]
        assert re.search(
            rf"\{{ref\}}`[^`]*change-{label}>?`", section
        ), (
            f"{page.name}: the section of erratum-{label} does not lead "
            "back to its row"
        )
        if label not in HISTORY:
            assert "{code-cell}" in section, (
                f"{page.name}: the section of erratum-{label} runs nothing"
            )
        else:
            assert "{cite:" in section
