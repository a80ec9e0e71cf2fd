"""Tables that a cell computes: Markdown on a page, text in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Table:
    """Rows under one header; every row has the keys of the first.

    Raises ValueError where there is no row, or one differs in its keys.
    """

    def __init__(self, rows: Sequence[Mapping[str, object]]) -> None:
        if not rows:
            raise ValueError("a table needs a row")
        self.header = list(rows[0])
        for row in rows:
            if list(row) != self.header:
                raise ValueError(
                    f"this row has the columns {list(row)}, "
                    f"the first has {self.header}"
                )
        self.cells = [
            [str(row[k]) for k in self.header] for row in rows
        ]

    def _repr_markdown_(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.cells]
        return "\n".join(
            "| "
            + " | ".join(c.replace("|", "\\|") for c in line)
            + " |"
            for line in lines
        )

    def __repr__(self) -> str:
        columns = zip(self.header, *self.cells, strict=True)
        widths = [max(map(len, column)) for column in columns]
        return "\n".join(
            "  ".join(map(str.ljust, line, widths)).rstrip()
            for line in [self.header, *self.cells]
        )
