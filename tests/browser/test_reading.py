"""What a reader does with a page: copies, chooses colours, prints."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    contexts = []

    def opened(name: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{address}/{name}.html", wait_until="load")
        return page

    yield opened
    for context in contexts:
        context.close()


def theme(page: Any) -> str:
    return str(page.evaluate("document.documentElement.dataset.theme"))


def test_the_chosen_colours_stay(opened):
    page = opened("index", color_scheme="light")
    assert theme(page) == "light"
    dark = page.get_by_role("button", name="Dark", exact=True)
    assert dark.get_attribute("aria-pressed") == "false"
    dark.click()
    assert theme(page) == "dark"
    page.wait_for_selector("[aria-pressed=true][data-mode=dark]")
    page.get_by_role("link", name="The lock").first.click()
    page.wait_for_load_state("load")
    assert theme(page) == "dark"
    page.get_by_role("button", name="As the system").click()
    page.reload()
    assert theme(page) == "light"
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")


def test_a_reader_without_scripts_has_the_text_its_letters_and_its_colours(
    opened,
):
    page = opened("threads/locks", java_script_enabled=False)
    # `evaluate` still runs: it is ours, not the page's
    look = """name => {
        const style = getComputedStyle(document.querySelector(name));
        return [style.color, style.backgroundColor, style.fontFamily];
    }"""
    keyword = page.evaluate(look, ".highlight .k")[0]
    assert keyword != page.evaluate(look, ".highlight pre")[0]
    assert "Literata" in page.evaluate(look, "article p")[2]
    assert page.evaluate(
        "document.fonts.load('1em Literata').then(found => found.length)"
    )
    assert not page.locator(".pst-js-only:visible").count()
    assert page.locator("schedule-explorer table:visible").count()


def copied(page: Any, block: str) -> str:
    page.context.grant_permissions(
        ["clipboard-read", "clipboard-write"]
    )
    where = page.locator(block).first
    where.hover()
    where.locator("button.copybtn").click()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_copying_a_cell_takes_its_code_alone(opened):
    page = opened("threads/locks")
    code = copied(page, ".cell_input .highlight")
    shown = page.locator(".cell_input pre").first.inner_text()
    assert code.strip() == shown.strip()
    compile(code, "the cell", "exec")


def test_copying_a_session_leaves_out_prompts_and_output(opened):
    page = opened("multitasking/pages")
    page.evaluate(
        """() => {
            const block = document.querySelector(".highlight pre");
            block.innerHTML = '<span class="gp">&gt;&gt;&gt; </span>'
                + '1 + 1\\n<span class="go">2</span>\\n';
        }"""
    )
    assert copied(page, ".highlight").strip() == "1 + 1"


def test_the_printed_page_has_every_line_of_every_listing(opened):
    page = opened("threads/locks")
    lines = page.locator("article pre").evaluate_all(
        "all => all.map(e => e.textContent)"
        ".join('\\n').split('\\n').map(l => l.trim()).filter(l => l)"
    )
    assert len(lines) > 150
    pdf = PdfReader(BytesIO(page.pdf(format="A4")))
    text = "".join(sheet.extract_text() for sheet in pdf.pages)
    squeezed = "".join(text.split())
    lost = [
        line for line in lines if "".join(line.split()) not in squeezed
    ]
    assert lost == []


def test_a_dead_address_leads_back_to_the_book(browser, address, site):
    page = browser.new_page()
    # as a server that knows the page would answer
    page.route(
        "**/threads/nowhere.html",
        lambda route: route.fulfill(
            status=404,
            body=Path(site, "404.html").read_text("utf-8"),
            content_type="text/html; charset=utf-8",
        ),
    )
    page.goto(f"{address}/threads/nowhere.html", wait_until="load")
    assert page.get_by_role("heading", level=1).inner_text() == (
        "There is no such page"
    )
    assert "Literata" in page.evaluate(
        "getComputedStyle(document.body).fontFamily"
    )
    page.get_by_role("link", name="The contents").click()
    page.wait_for_load_state("load")
    assert page.url == f"{address}/index.html"
    page.close()
