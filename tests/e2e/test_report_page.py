"""The report as people see it: in Chromium, from the service, where no script runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import LAPTOP, PHONE, SCREENS, assert_whole
from tests.conftest import Fit
from tests.serving import Server

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

SMALL = ("runtime.report=true", "train.epochs=4", "ensemble.members=1")


@pytest.fixture(scope="module")
def server(
    start_shared: Callable[..., Server],
    tmp_path_factory: pytest.TempPathFactory,
    fit: Fit,
    people_csv: Path,
) -> Server:
    """A server of versions with reports: two classes, ten, and a number."""
    store = tmp_path_factory.mktemp("reports") / "store"
    fit(store, people_csv, target="Status", model="people", settings=SMALL)
    fit(store, people_csv, target="income", model="incomes", settings=SMALL)
    fit(store, "builtin:digits", model="digits", settings=SMALL)
    return start_shared(store)


@contextmanager
def opened(
    browser: Browser, server: Server, model: str, size: tuple[int, int], theme: str
) -> Iterator[Page]:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        bypass_csp=True,  # for axe-core; the report itself has no script
    )
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/console/reports/{model}/1")
    yield page
    context.close()


@pytest.mark.parametrize(("theme", "size"), SCREENS)
def test_everybody_can_read_it(
    browser: Browser, server: Server, theme: str, size: tuple[int, int]
) -> None:
    for model in ("people", "incomes", "digits"):
        with opened(browser, server, model, size, theme) as page:
            expect(page.get_by_role("heading", name="Is it good?")).to_be_visible()
            assert_whole(page, size)


def test_a_threshold_is_chosen_without_a_script(
    browser: Browser, server: Server
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/console/reports/people/1")
    shown = page.locator(".thresholds output:visible")
    expect(shown).to_have_text("0.5")
    page.get_by_role("radio", name="0.5", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    expect(shown).to_have_count(1)
    expect(shown).not_to_have_text("0.5")
    page.get_by_role("radio").first.check()
    expect(page.locator(".thresholds dd:visible").nth(2)).to_have_text("100.0%")
    context.close()


def test_ten_classes_are_compared_on_a_phone(browser: Browser, server: Server) -> None:
    with opened(browser, server, "digits", PHONE, "light") as page:
        table = page.get_by_role("region", name="confusion matrix")
        assert table.evaluate("it => it.scrollWidth - it.clientWidth") <= 1
        cell = page.locator(".confusion td").last
        assert cell.evaluate("it => it.getBoundingClientRect().right") <= PHONE[0]


def test_the_page_answers_in_order(browser: Browser, server: Server) -> None:
    with opened(browser, server, "people", LAPTOP, "light") as page:
        expect(page.locator("h2")).to_have_text(
            [
                *("Is it good?", "What to do", "Columns", "Mistakes"),
                *("Data", "Learning", "Layers", "Settings"),
            ]
        )
        figures = page.locator(".metrics")
        expect(figures).to_contain_text("linear model")
        expect(figures.locator("small").first).to_contain_text("to")
