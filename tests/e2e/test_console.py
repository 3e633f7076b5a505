"""The console as people see it: a real Chromium, a real server with two workers."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from models.storage.base import CANDIDATE
from models.storage.directory import DirectoryStore
from tests.browsing import DESKTOP, SCREENS, assert_whole
from tests.conftest import Fit, write_csv
from tests.private import write_secret
from tests.serving import Server

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

Points = list[tuple[float, float]]
#: A name, a category and a label that would like to be markup.
HOSTILE = '<img src=x onerror="throw 1">&amp;"\''


def arc(x: float, y: float, wide: float, high: float, *turn: int) -> Points:
    """Return points on an ellipse between two angles in degrees, 0 at three o'clock."""
    first, last = turn
    angles = [math.radians(first + (last - first) * n / 16) for n in range(17)]
    return [(x + wide * math.cos(a), y + high * math.sin(a)) for a in angles]


#: As a person writes them, in shares of the sheet.
DIGITS: dict[str, list[Points]] = {
    "0": [arc(0.5, 0.5, 0.2, 0.32, -90, 270)],
    "1": [[(0.4, 0.3), (0.5, 0.15), (0.5, 0.87)]],
    "3": [arc(0.47, 0.33, 0.17, 0.16, 200, 450) + arc(0.47, 0.65, 0.2, 0.17, -90, 160)],
    "4": [[(0.56, 0.15), (0.3, 0.6), (0.74, 0.6)], [(0.6, 0.38), (0.6, 0.88)]],
    "7": [[(0.3, 0.18), (0.7, 0.18), (0.45, 0.85)]],
}


@pytest.fixture(scope="module")
def looked_into(
    tmp_path_factory: pytest.TempPathFactory, fit: Fit, served: Path
) -> Path:
    """The served store with digits that were learnt to the end, and hostile names."""
    store = tmp_path_factory.mktemp("console") / "store"
    shutil.copytree(served, store)
    settings = ("train.epochs=60", "ensemble.members=1")
    fit(store, "builtin:digits", model="digits", promote="always", settings=settings)
    table: dict[str, list[Any]] = {
        HOSTILE: [HOSTILE, "plain"] * 40,
        "__proto__": [n % 7 for n in range(80)],
        "y": [f"{HOSTILE} yes", f"{HOSTILE} no"] * 40,
    }
    data = write_csv(store.parent / "hostile.csv", table)
    fit(store, data, target="y", model="hostile", settings=("train.epochs=5",))
    points = [(x / 20, y / 20) for x in range(21) for y in range(21)]
    bands: dict[str, list[Any]] = {
        "east": [x for x, _ in points],
        "north": [y for _, y in points],
        "band": [("left", "middle", "right")[min(int(3 * x), 2)] for x, _ in points],
    }
    data = write_csv(store.parent / "bands.csv", bands)
    fit(store, data, target="band", model="bands", settings=("ensemble.members=1",))
    return store


@pytest.fixture(scope="module")
def server(start_shared: Callable[..., Server], looked_into: Path) -> Server:
    return start_shared(looked_into)


@contextmanager
def opened(browser: Browser, server: Server, model: str, **how: Any) -> Iterator[Page]:
    """Open the page of a model; it must log no error and ask no other host."""
    width, height = how.pop("size", DESKTOP)
    context = browser.new_context(viewport={"width": width, "height": height}, **how)
    page, home, faults = context.new_page(), f"http://127.0.0.1:{server.port}/", []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{home}#/{model}")
    expect(page.locator(".answer .note")).to_contain_text("is the sum", timeout=30_000)
    yield page
    seen = [*faults]  # closing ends the requests that are under way
    context.close()
    assert not seen
    assert asked
    assert not [url for url in asked if not url.startswith(home)]


def settle(page: Page) -> None:
    """Wait until the last question is answered."""
    expect(page.locator(".trial")).to_have_attribute("aria-busy", "false")


def draw(page: Page, strokes: list[Points]) -> None:
    page.get_by_role("button", name="Clear").click()
    sheet = page.locator(".sheet")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    for points in strokes:
        places = [
            (box["x"] + x * box["width"], box["y"] + y * box["height"])
            for x, y in points
        ]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=2)
        page.mouse.up()


def picture(canvas: Locator) -> str:
    """Return what stands on a canvas."""
    pixels: str = canvas.evaluate("canvas => canvas.toDataURL()")
    return pixels


@pytest.mark.parametrize("digit", sorted(DIGITS))
def test_what_is_drawn_is_read(browser: Browser, server: Server, digit: str) -> None:
    with opened(browser, server, "digits") as page:
        layers = page.locator(".flow canvas")
        before = [picture(layer) for layer in layers.all()]
        draw(page, DIGITS[digit])
        expect(page.locator(".said strong")).to_have_text(digit)
        best = page.locator(".bar.best")
        expect(best.locator(".name")).to_have_text(digit)
        expect(page.locator(".answer .note")).to_contain_text(f"“{digit}”")
        width = best.locator("i").evaluate("i => parseFloat(i.style.inlineSize)")
        assert 50 < width <= 100
        if digit != "3":  # the page begins with one
            after = [picture(layer) for layer in layers.all()]
            assert all(one != other for one, other in zip(before, after, strict=True))


def test_another_class_is_explained_over_the_drawing(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server, "digits") as page:
        sheet = page.locator(".sheet")
        why = picture(sheet)
        page.get_by_role("button", name=re.compile(r"^8\b")).click()
        settle(page)
        expect(page.locator(".answer .note")).to_contain_text("“8”")
        expect(page.locator('.bar[aria-pressed="true"] .name')).to_have_text("8")
        assert picture(sheet) != why
        page.get_by_label("Show why").uncheck()
        assert picture(sheet) != why


def test_a_digit_is_drawn_from_the_keyboard(browser: Browser, server: Server) -> None:
    with opened(browser, server, "digits") as page:
        page.get_by_role("button", name="Clear").click()
        blank = picture(page.locator(".seen"))
        page.locator(".sheet").focus()
        for key in ["ArrowUp"] * 8 + [" "] + ["ArrowDown"] * 16 + [" ", "ArrowLeft"]:
            page.keyboard.press(key)
        expect(page.locator(".said strong")).to_have_text("1")
        assert picture(page.locator(".seen")) != blank
        page.keyboard.press("Backspace")
        assert picture(page.locator(".seen")) == blank


def test_a_slider_moves_bars_parts_and_layers(browser: Browser, server: Server) -> None:
    with opened(browser, server, "people") as page:
        page.get_by_role("button", name="Typical row").click()
        parts = page.locator(".part")
        expect(parts).to_have_text(["0"] * 5)
        bar = page.locator(".bar", has_text="good").locator("i")
        before = bar.evaluate("i => i.style.inlineSize")
        last_layer = page.locator(".flow canvas").first
        unlit = picture(last_layer)
        slider = page.get_by_label("income", exact=True)
        assert slider.get_attribute("type") == "range"
        slider.focus()
        page.keyboard.press("End")
        settle(page)
        expect(parts.first).not_to_have_text("0")
        expect(page.get_by_label("income, exactly")).not_to_have_value("")
        assert bar.evaluate("i => i.style.inlineSize") != before
        assert picture(last_layer) != unlit
        shares = page.locator(".bar .value").all_text_contents()
        assert len(shares) == 2
        part = parts.first.text_content()
        page.get_by_label("income, exactly").fill("")  # missing
        expect(parts.first).not_to_have_text(str(part))
        page.get_by_label("home").select_option("(missing)")
        page.get_by_label("since").fill("2025-05-05")
        expect(page.locator(".said strong")).to_have_text(re.compile("good|bad"))


def test_values_unlike_those_of_training_are_marked(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server, "people") as page:
        page.get_by_role("button", name="Typical row").click()
        settle(page)
        expect(page.locator(".doubt")).to_be_empty()
        expect(page.locator(".unlike")).to_have_count(0)
        page.get_by_label("income, exactly").fill("100000")
        doubt = page.locator(".doubt")
        expect(doubt).to_contain_text("income is above the range of training")
        expect(page.locator(".unlike label")).to_have_text("income")
        page.get_by_role("button", name="Typical row").click()
        expect(doubt).to_be_empty()


def test_an_empty_sheet_is_no_certainty(browser: Browser, server: Server) -> None:
    with opened(browser, server, "digits") as page:
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".doubt")).to_contain_text("is an empty image")


def test_parts_add_up_to_what_the_sentence_says(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server, "people") as page:
        page.get_by_role("button", name="Another row").click()
        settle(page)
        note = page.locator(".answer .note")

        def signed(text: str) -> float:
            return float(text.replace("−", "-"))

        change = re.search(r"([+−][\d.]+) points", str(note.text_content()))
        assert change is not None
        parts = [signed(text) for text in page.locator(".part").all_text_contents()]
        # Each number shown is rounded; the sum itself is true to a fifth of a point.
        rounding = 0.05 * (len(parts) + 1)
        assert sum(parts) == pytest.approx(signed(change[1]), abs=rounding + 0.2)


def test_two_columns_are_answered_everywhere(browser: Browser, server: Server) -> None:
    with opened(browser, server, "xor") as page:
        surface = page.locator(".map")
        expect(surface).to_have_attribute("aria-label", re.compile("by x1 and x2"))
        for x, y, answer in ((0.1, 0.1, "1"), (0.9, 0.9, "1"), (0.1, 0.9, "0")):
            box = surface.bounding_box()
            assert box is not None
            surface.click(position={"x": x * box["width"], "y": y * box["height"]})
            expect(page.locator(".said strong")).to_have_text(answer)
            exact = page.get_by_label("x1, exactly").input_value()
            assert float(exact) == pytest.approx(1.3 * x - 0.15, abs=0.03)


#: The share of the accent's colour at a point of the surface, from 0 to 1.
TINT = """(map, [x, y]) => {
    const canvas = document.createElement("canvas");
    const one = canvas.getContext("2d", { willReadFrequently: true });
    one.drawImage(map, x * map.width, y * map.height, 1, 1, 0, 0, 1, 1);
    const style = getComputedStyle(document.documentElement);
    const red = (name) => parseInt(style.getPropertyValue(name).trim().slice(1, 3), 16);
    const [low, high] = [red("--cell"), red("--accent")];
    return (one.getImageData(0, 0, 1, 1).data[0] - low) / (high - low);
}"""


def test_a_surface_of_three_classes_shows_the_one_that_is_chosen(
    browser: Browser, server: Server
) -> None:
    places = {"left": 0.25, "middle": 0.5, "right": 0.75}
    with opened(browser, server, "bands") as page:
        surface, legend = page.locator(".map"), page.locator(".surface .legend")
        expect(surface).to_have_attribute("aria-label", re.compile("by east and north"))
        for band, x in places.items():
            box = surface.bounding_box()
            assert box is not None
            surface.click(position={"x": x * box["width"], "y": 0.5 * box["height"]})
            expect(page.locator(".said strong")).to_have_text(band)
            expect(page.locator(".bars button")).to_have_count(3)
            page.get_by_role("button", name=re.compile(rf"^{band}\b")).click()
            expect(legend).to_have_text(f"0 %100 % probability of “{band}”")
            tints = {
                name: surface.evaluate(TINT, [at, 0.2]) for name, at in places.items()
            }
            assert tints[band] > 0.6
            assert all(tints[other] < 0.4 for other in places if other != band)


def test_a_number_is_answered_in_its_own_units(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server, "half_plus_two") as page:
        page.get_by_label("x, exactly").fill("4")
        expect(page.locator(".said strong")).to_have_text(re.compile(r"^(4|3\.9|4\.0)"))
        expect(page.locator(".bars")).to_have_count(0)


def test_a_publish_is_seen_without_a_reload(
    browser: Browser,
    start: Callable[..., Server],
    served: Path,
    tmp_path: Path,
    fit: Fit,
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    server = start(store)
    with opened(browser, server, "xor") as page:
        facts = page.locator(".facts")
        expect(facts).to_contain_text("version 1")
        page.evaluate("window.stays = 1")
        page.get_by_label("x1, exactly").fill("0.9")
        fit(store, "builtin:xor", model="xor", promote="always", seed=7, settings=())
        with page.expect_request("**/versions/2:explain", timeout=30_000):
            expect(facts).to_contain_text("version 2", timeout=30_000)
        expect(page.locator("#status")).to_have_text("xor: version 2 is live")
        expect(page.locator("tr.live th")).to_contain_text("2")
        expect(page.get_by_label("x1, exactly")).to_have_value("0.9")
        page.get_by_role("button", name="Try version 1").click()
        expect(page.get_by_role("button", name="Trying version 1")).to_be_visible()
        expect(page.get_by_role("heading", level=2)).to_contain_text("xor version 1")
        expect(facts).to_contain_text("live is version 2")
        assert page.evaluate("location.hash") == "#/xor@1"
        settle(page)  # a reload would end a request
        page.reload()  # the address keeps the version
        expect(page.get_by_role("heading", level=2)).to_contain_text("xor version 1")
        page.get_by_role("button", name="Try version 2").click()
        expect(page.get_by_role("heading", level=2)).to_have_text("xor version 2")
        assert page.evaluate("location.hash") == "#/xor"


OPEN = "details => { details.open = true; }"


def test_traffic_and_drift_are_those_of_all_workers(
    browser: Browser, start: Callable[..., Server], served: Path
) -> None:
    server = start(served)
    for _ in range(40):  # half of those it learnt from are members
        server.predict("people", [[40, "rent", True, "2024-05-05", 1]] * 50)
    server.request("POST", "/v1/models/people:predict", {"instances": [["x"] * 5]})
    with opened(browser, server, "people") as page:
        row = page.locator("tr.live td")
        expect(row.nth(2)).to_have_text(re.compile(r"^4[1-9]$"))
        expect(row.nth(3)).to_have_text(re.compile(r"^2\.[234] %$"))
        expect(row.nth(4)).to_contain_text("ms")
        drift = page.locator(".drift li", has_text="member")
        expect(drift).to_contain_text("shifted strongly")
        for place in ("nav", "h2"):
            expect(page.locator(f"{place} .mark.far")).to_contain_text("drift")
        note = page.locator("#drift .note")
        expect(note).to_contain_text("requests of the last hour")
        # The column that had moved furthest at first is open.
        expect(page.locator(".drift details[open]")).to_have_count(1)
        closed = page.locator(".drift details:not([open]) .sides")
        expect(closed.first).to_be_hidden()
        drift.locator("details").evaluate(OPEN)
        rows = drift.locator(".sides tbody tr")
        expect(rows).to_have_text([re.compile("^false"), re.compile("^true")])
        expect(rows.nth(1).locator("td").nth(1)).to_have_text("100 %")
        column = page.locator(".drift li", has_text="home")
        column.locator("details").evaluate(OPEN)
        now = column.locator("tr", has_text=re.compile("^rent")).locator("td").nth(1)
        expect(now).to_have_text("100 %")
        expect(page.locator(".facts")).to_contain_text(
            re.compile("1 of 4[1-9] in the last .*: 1 invalid")
        )


def test_a_candidate_says_its_share_and_how_it_compares(
    browser: Browser,
    start: Callable[..., Server],
    served: Path,
    tmp_path: Path,
    fit: Fit,
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    fit(store, "builtin:xor", model="xor", promote="never", seed=7, settings=())
    DirectoryStore(store).promote("xor", 2, CANDIDATE, share=0.25)
    server = start(store)
    with opened(browser, server, "xor") as page:
        note = page.locator(".versions .note").first
        expect(note).to_contain_text("version 2 answers 25.0 % of the requests")
        expect(note).to_contain_text("No row has been compared yet")
        for _ in range(40):
            server.predict("xor", [[0, 1], [1, 1]])
        expect(note).to_contain_text(re.compile(r"On \d+ rows compared with version 1"))
        expect(note).to_contain_text("answers disagree")


def test_a_tint_a_unit_and_a_surface_say_what_they_mean(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server, "digits") as page:
        expect(page.locator(".beside .legend")).to_have_text("raises “3”lowers “3”")
        expect(page.locator(".units li")).to_have_text([str(n) for n in range(10)])
        page.get_by_label("Show why").uncheck()
        expect(page.locator(".beside .legend")).to_be_hidden()
    with opened(browser, server, "xor") as page:
        expect(page.locator(".surface .legend")).to_have_text(
            "0 %100 % probability of “1”"
        )
        page.get_by_role("button", name=re.compile(r"^0\b")).click()
        expect(page.locator(".surface .legend")).to_contain_text("“0”")


def test_a_colour_has_one_meaning(browser: Browser, server: Server) -> None:
    """The colours that the style sheet names are all different, in both themes."""
    for theme in ("light", "dark"):
        with opened(browser, server, "xor", color_scheme=theme) as page:
            names = ("accent", "for", "against", "above", "below", "warn", "wrong")
            values = page.evaluate(
                """names => names.map((name) =>
                getComputedStyle(document.documentElement).getPropertyValue(`--${name}`))""",
                names,
            )
            assert len({value.strip() for value in values}) == len(names)


def test_the_row_on_screen_is_a_program(browser: Browser, server: Server) -> None:
    with opened(browser, server, "people") as page:
        page.get_by_role("button", name="Another row").click()
        settle(page)
        label = page.locator(".said strong").text_content()
        texts = page.locator(".code pre").all_text_contents()
        for command in (["sh", "-c", texts[0]], [sys.executable, "-c", texts[1]]):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert f"'label': '{label}'" in done.stdout.replace('"', "'").replace(
                "':'", "': '"
            )
        contract = page.get_by_role("link", name="Contract")
        assert contract.get_attribute("href") == "docs#people"


def test_names_are_text_whatever_they_are(browser: Browser, server: Server) -> None:
    with opened(browser, server, "hostile") as page:
        page.get_by_label(HOSTILE, exact=True).select_option(HOSTILE)
        expect(page.locator(".said strong")).to_have_text(f"{HOSTILE} yes")
        expect(page.get_by_label("__proto__", exact=True)).to_be_visible()
        expect(page.locator("main img")).to_have_count(0)


@pytest.mark.parametrize(("theme", "size"), SCREENS)
def test_everybody_can_use_it(
    browser: Browser, server: Server, theme: str, size: tuple[int, int]
) -> None:
    """No finding of axe-core, and nothing cut or outside of the screen."""
    # axe-core comes as text into the page, which the page's own rules forbid.
    how = {"size": size, "color_scheme": theme, "bypass_csp": True}
    for _ in range(10):
        server.predict("people", [[40, "rent", True, "2024-05-05", 1]] * 50)
    for model in ("digits", "xor", "people"):
        with opened(browser, server, model, **how) as page:
            if model == "people":
                expect(page.locator(".drift .sides").first).to_be_visible()
                page.get_by_text("as curl").click()
            assert_whole(page, size)
            cut = page.locator(".versions .scroll")
            assert cut.evaluate("it => it.scrollWidth - it.clientWidth") <= 1


def test_an_empty_store_says_what_to_do(
    browser: Browser, start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(tmp_path / "none", ready=False)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
    expect(page.locator("#status")).to_have_text("no model loaded")
    page.close()


def test_where_a_token_is_asked_for_the_page_takes_it(
    browser: Browser, start: Callable[..., Server], served: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    (store / "xor" / "1" / "report.html").write_text("<h1>the report</h1>")
    token = "a-token-of-enough-letters"
    tokens = tmp_path / "tokens"
    write_secret(tokens, token)
    server = start(store, token_file=tokens)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/#/xor")
    field = page.get_by_label("This service needs a token")
    expect(field).to_be_visible()
    expect(page.locator("#page")).to_be_hidden()
    field.fill("another-token-of-as-many")
    field.press("Enter")
    expect(page.locator("#refused")).to_contain_text("not accepted")
    field.fill(token)
    field.press("Enter")
    expect(page.locator(".answer .note")).to_contain_text("is the sum")
    expect(page.locator("#door")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_role("link", name="Report").click()
    assert download.value.path().read_text() == "<h1>the report</h1>"
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
    page.close()


def test_a_report_opens_beside_the_page_and_runs_nothing(
    browser: Browser, start: Callable[..., Server], served: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(served, tmp_path / "store"))
    report = "<h1>the report</h1><script>document.body.textContent = 'run'</script>"
    (store / "xor" / "1" / "report.html").write_text(report)
    server = start(store)
    with opened(browser, server, "xor") as page:
        with page.expect_popup() as popup:
            page.get_by_role("link", name="Report of version 1").click()
        expect(popup.value.get_by_role("heading", name="the report")).to_be_visible()
