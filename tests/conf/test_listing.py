"""The code shown is the code run: the directive refuses all else."""

import pytest

MODULE = '''"""A module."""


class Account:
    """Holds money."""

    def deposit(self, amount):
        """Add ``amount``."""
        self.balance += amount
'''


def listing(target: str, *options: str) -> str:
    return "\n".join([f"```{{listing}} {target}", *options, "```", ""])


def test_a_listing_shows_the_object_with_number_label_and_links(tree):
    tree.module("money", MODULE)
    (tree.root / "tests").mkdir()
    (tree.root / "tests" / "test_money.py").write_text("'''Tests.'''\n")
    tree.chapters(
        one=listing("multithreading.money:Account.deposit")
        + "\nSee {numref}`lst-money-account-deposit`.\n"
    )
    built = tree.build()
    assert built.status == 0, built.err
    page = (built.html / "one.html").read_text("utf-8")
    assert "Listing 1" in page
    assert "Holds money" not in page
    for place in ("code/multithreading/money", "tests/test_money"):
        assert f'href="{place}.html"' in page
        assert (built.html / f"{place}.html").is_file()


def test_an_edited_listing_is_shown_anew(tree):
    tree.module("money", MODULE)
    tree.chapters(one=listing("multithreading.money:Account"))
    tree.build()
    tree.module("money", MODULE.replace("Holds money", "Keeps money"))
    built = tree.build()
    assert "Keeps money" in (built.html / "one.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("multithreading.nowhere:f", "there is no module"),
        ("multithreading.money:Accuont", "Accuont"),
        ("json:loads", "not from code/"),
    ],
)
def test_a_wrong_target_fails_and_says_where(tree, target, said):
    tree.module("money", MODULE)
    tree.chapters(one=listing(target))
    built = tree.build()
    assert built.status != 0
    assert any(
        "one.md:8: " in line and said in line
        for line in built.err.splitlines()
    ), built.err


def test_a_package_from_elsewhere_is_refused(tree, tmp_path):
    elsewhere = tmp_path / "site" / "multithreading"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("")
    tree.chapters(one="Text.")
    built = tree.build(PYTHONPATH=str(tmp_path / "site"))
    assert built.status != 0
    assert "not from code/" in built.err
    assert "pip install -e ." in built.err
