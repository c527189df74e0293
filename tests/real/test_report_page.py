"""The report in a real browser: Debian's Chromium, by Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from fleet.app import Form, report
from fleet.record import RunFolder
from tests.needs import need
from tests.unit.record.test_report import run
from tests.unit.record.test_report_colours import LEGIBLE, contrast

__all__ = ["run"]  # a fixture: a run on two hosts, one of whose jobs has failed

pytestmark = pytest.mark.real

# As root, and without a word to anybody: nothing is fetched, looked up or synchronised.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = need("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def address(run: RunFolder) -> str:
    return Path(report("r1", Form.HTML)).as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, which asks for nothing but itself and complains of nothing."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert asked == [address]
    assert said == []


def test_it_says_at_once_what_failed_and_where(page: Page) -> None:
    assert page.get_by_role("heading", level=1).inner_text() == "Failed"
    assert page.get_by_text("x.c:1: error: no").first.is_visible()
    assert page.locator("main").count() == 1


def test_a_log_is_text_and_opens_by_the_keyboard(page: Page) -> None:
    job = page.locator("details.job", has_text="plugins linux/arm64")
    log = job.get_by_text("</script><script>alert(1)</script>")
    assert not log.is_visible()
    job.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert log.is_visible()


def test_the_tab_key_reaches_every_link_and_button(page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Summary", "Timeline", "Jobs", "Hosts", "Open all"} <= reached


def test_the_critical_path_is_marked(page: Page) -> None:
    marked = page.locator("section", has_text="Jobs").get_by_text("critical path")
    assert marked.count() >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colours_of_the_system(scheme: str, browser: Browser, address: str) -> None:
    context = browser.new_context(color_scheme="light" if scheme == "light" else "dark")
    page = context.new_page()
    page.goto(address)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shades = [int(part) for part in paper[paper.index("(") + 1 : -1].split(",")[:3]]
    context.close()
    assert (sum(shades) > 600) == (scheme == "light")


# Of every text that is shown: its colour, and that of the nearest ground which is not see-through.
SHOWN = """() => {
  const opaque = colour => !/^rgba\\(.*, 0\\)$|^transparent$/.test(colour);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (opaque(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  document.querySelectorAll("details").forEach(details => { details.open = true; });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    if (/^(STYLE|SCRIPT|title)$/.test(element.tagName)) continue;
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    found.push([text, svg ? style.fill : style.color, ground(element)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_ground(scheme: str, browser: Browser, address: str) -> None:
    context = browser.new_context(color_scheme="light" if scheme == "light" else "dark")
    page = context.new_page()
    page.goto(address)
    shown = page.evaluate(SHOWN)
    context.close()
    assert len(shown) > 50
    ratios = [(contrast(hex_of(colour), hex_of(ground)), text) for text, colour, ground in shown]
    assert [(ratio, text) for ratio, text in ratios if ratio < LEGIBLE] == []


def hex_of(colour: str) -> str:
    """``#rrggbb`` of what a browser says of an opaque colour."""
    match = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour)
    assert match is not None, colour
    red, green, blue = map(int, match.groups())
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_a_phone_scrolls_it_downwards_only(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(address)
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert width <= 360
