"""A copy that knows its address and its repository tells them."""

from bs4 import BeautifulSoup

URL = "https://example.org/threads/"
REPOSITORY = "https://github.com/example/threads"


def page(built, name):
    assert built.status == 0, built.err
    html = (built.html / f"{name}.html").read_text("utf-8")
    return BeautifulSoup(html, "html.parser")


def meta(soup):
    return {
        tag.get("property", tag.get("name")): tag["content"]
        for tag in soup.select("meta[content]")
    }


def test_a_page_has_its_address_its_card_and_a_link_to_edit_it(tree):
    tree.chapters(one="*A claim.*\n\nText.")
    built = tree.build(BOOK_URL=URL, BOOK_REPOSITORY=REPOSITORY)
    soup = page(built, "one")
    (canonical,) = soup.select("link[rel=canonical]")
    assert canonical["href"] == f"{URL}one.html"
    told = meta(soup)
    assert told["og:url"] == f"{URL}one.html"
    assert told["description"] == "A claim."
    card = told["og:image"].removeprefix(URL)
    assert (built.html / card).read_bytes().startswith(b"\x89PNG")
    (edit,) = soup.select(".page-foot a[href*=edit]")
    assert edit["href"] == f"{REPOSITORY}/edit/main/book/one.md"
    dead = page(built, "404")
    links = {a["href"] for a in dead.select("article a")}
    assert links == {"/threads/index.html", "/threads/genindex.html"}


def test_a_copy_on_a_disk_claims_no_address(tree):
    tree.chapters(one="*A claim.*\n\nText.")
    built = tree.build(BOOK_URL="", BOOK_REPOSITORY="")
    soup = page(built, "one")
    told = meta(soup)
    assert told["description"] == "A claim."
    assert "og:image" not in told
    assert not soup.select(
        "link[rel=canonical], .page-foot a[href*=edit]"
    )
