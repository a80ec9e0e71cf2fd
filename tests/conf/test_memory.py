"""What was made in the last build is made again only where it must be."""

from pathlib import Path

from memory import Memory


def test_what_is_made_of_the_same_is_made_once(tmp_path: Path) -> None:
    asked = []

    def join(*parts: str) -> str:
        asked.append(parts)
        return "".join(parts)

    def build(maker: str, *parts: str) -> str:
        memory = Memory(tmp_path / "memory", maker)
        made = memory.made(join, *parts)
        assert memory.made(join, *parts) == made
        memory.save()
        return made

    assert build("one", "a", "bc") == "abc" == build("one", "a", "bc")
    assert asked == [("a", "bc")]
    # other parts, another maker, or a memory lost: made anew
    for maker, parts in (
        ("one", ("ab", "c")),
        ("two", ("ab", "c")),
        ("one", ("a", "bc")),
    ):
        assert build(maker, *parts) == "abc"
        assert asked.pop() == parts
    (tmp_path / "memory").write_bytes(b"half")
    assert build("one", "a", "bc") == "abc"
    assert asked == [("a", "bc")] * 2
