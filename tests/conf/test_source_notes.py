"""What the source chapter said stands beside its correction."""

from bs4 import BeautifulSoup

CHANGES = "(change-join)=\n## `join([time])`\n\nIt is `timeout`.\n"
ONE = "(erratum-join)=\n## Waiting\n\nText.\n\n## More\n\nText.\n"


def notes(built):
    assert built.status == 0, built.err
    html = (built.html / "one.html").read_text("utf-8")
    soup = BeautifulSoup(html, "html.parser")
    return [
        (
            note.parent.find(["h2"]).get_text().rstrip("#"),
            note.get_text(strip=True),
            note.a["href"],
        )
        for note in soup.select("aside.source-note")
    ]


def test_a_correction_has_its_note_and_follows_the_row(tree):
    tree.chapters(one=ONE, rows=CHANGES)
    row = "rows.html#change-join"
    assert notes(tree.build()) == [("Waiting", "join([time])", row)]
    page = tree.book / "rows.md"
    text = page.read_text("utf-8").replace("join([time])", "join()")
    page.write_text(text, "utf-8")
    assert notes(tree.build()) == [("Waiting", "join()", row)]
