"""What tests in a browser share: the screens, and what holds on each of them."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE, TABLET, LAPTOP, DESKTOP = (390, 844), (768, 1024), (1280, 900), (1920, 1080)
#: Themes and sizes.
SCREENS = [
    *(("light", size) for size in (PHONE, TABLET, LAPTOP, DESKTOP)),
    *(("dark", size) for size in (PHONE, LAPTOP)),
]
#: The elements that end beyond the edge of the screen, or whose text is cut, but for
#: what is hidden from sight and what scrolls by itself.
CUT = """[...document.querySelectorAll("body *")].filter((it) => {
    if (it.closest(".hidden, .skip, .scroll, pre, option, svg *, nav ul")) return false;
    const { left, right, width } = it.getBoundingClientRect();
    if (width && (right > innerWidth + 1 || left < -1)) return true;
    const style = getComputedStyle(it);
    return style.overflowX !== "visible" && style.display !== "inline"
        && it.clientWidth && it.scrollWidth > it.clientWidth + 1;
}).map((it) => `${it.tagName} ${it.className}: ${it.textContent.slice(0, 80)}`)"""


def assert_whole(page: Page, size: tuple[int, int]) -> None:
    """Fail if anything is cut or outside of the screen, or axe-core finds something."""
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    cut = page.evaluate(CUT)
    assert not cut, cut
    found = Axe().run(page).response["violations"]
    assert not found, [(each["id"], each["nodes"][0]["html"]) for each in found]
