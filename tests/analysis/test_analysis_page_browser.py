"""The page as a reader has it, in a headless Chromium: nothing is asked for, tables sort and filter, sources show, flips open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, find_chromium

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on the PATH (CHROMIUM names one)")

SHOWN = "!document.querySelector('#origin').hidden"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A desktop window; whatever a test does, nothing may go wrong in it and nothing may be asked for."""
    one = browser.open(url, width=1280)
    yield one
    assert one.errors == [] and set(one.requests) <= {url, "data:,"}


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    one = browser.open(url, width=360, height=740, touch=True, dark=True)
    yield one
    assert one.errors == [] and set(one.requests) <= {url, "data:,"}


def column(page: Page, table: str, number: int) -> list[Any]:
    """The texts of a column, top to bottom, of the rows that are shown."""
    return list(
        page.evaluate(f"[...document.querySelector('{table}').tBodies[0].rows].filter(r=>!r.hidden).map(r=>r.cells[{number}].innerText)")
    )


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "—"]


def test_headings_sort_by_click_and_by_key(page: Page) -> None:
    head = ".comparison thead th:nth-child(2)"
    page.click(f"{head} button")
    assert page.evaluate(f"document.querySelector('{head}').ariaSort") == "descending"
    down = column(page, ".comparison", 1)
    assert numbers(down) == sorted(numbers(down), reverse=True) and down[-1] == "—" and len(numbers(down)) == 4
    page.press("Enter")  # the button has the focus
    assert page.evaluate(f"document.querySelector('{head}').ariaSort") == "ascending"
    up = column(page, ".comparison", 1)
    assert numbers(up) == sorted(numbers(up)) and up[-1] == "—"  # what is absent stays last
    assert "ascending" in page.evaluate("document.querySelector('#told').textContent")
    page.click(".changes thead th:nth-child(2) button")  # words: from a on
    assert column(page, ".changes", 1) == sorted(column(page, ".changes", 1))
    assert page.evaluate(
        "document.querySelectorAll('.scroll table thead th').length === document.querySelectorAll('thead th button').length"
    )
    assert page.evaluate("[...document.querySelectorAll('.comparison [aria-sort]')].length") == 1


def test_tables_filter_by_words(page: Page) -> None:
    page.click("#f-changes-rows")
    page.type("MIXED choice")
    page.wait_for("document.querySelector('#t-changes .told').textContent === '1 of 12 rows'")
    assert column(page, ".changes", 1) == ["mini_choice"]
    page.click("#f-comparison-columns")
    page.type("en_ja")
    heads = "[...document.querySelectorAll('.comparison thead th')].filter(h => h.offsetWidth).map(h => h.innerText.trim())"
    assert page.evaluate(heads) == ["cell", "mini_en_ja\N{NO-BREAK SPACE}↑"]
    page.click("#f-comparison-rows")
    page.type("before")
    assert column(page, ".comparison", 0) == ["before training"]


def test_a_number_says_where_it_comes_from(page: Page) -> None:
    page.hover(".changes tbody tr td:nth-child(4)[data-from]")
    page.wait_for(SHOWN)
    told = page.evaluate("document.querySelector('#origin').innerText")
    for words in ("none-s0", "2,000,000 tokens", "mini_choice", "version 1, 4-shot", "task digest\nmini_choice-prom", "none-s0-2000000"):
        assert words in told
    page.hover("h1")
    page.wait_for(f"!({SHOWN})")


def test_sources_are_reached_by_keyboard_and_give_the_focus_back(page: Page) -> None:
    page.evaluate("document.querySelector('.comparison thead th:last-child button').focus()")
    page.press("Tab")  # one stop for the whole table
    first = page.evaluate("document.activeElement.cellIndex + ' ' + document.activeElement.parentElement.rowIndex")
    assert first == "1 1" and page.evaluate(SHOWN)
    page.press("ArrowRight")
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.cellIndex + ' ' + document.activeElement.parentElement.rowIndex") == "2 2"
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "origin"
    page.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.press("Escape")
    assert not page.evaluate(SHOWN) and page.evaluate("document.activeElement.cellIndex") == 2
    page.press("Tab")
    assert not page.evaluate("document.activeElement.closest('.comparison')")


def test_tab_reaches_everything_in_order_from_the_skip_link_on(page: Page) -> None:
    met = []
    for _ in range(90):
        page.press("Tab")
        what = page.evaluate(
            "(e => e.id || (e.closest('summary') && 'summary') || e.closest('table')?.classList[0] || e.closest('nav')?.className"
            " || e.className)(document.activeElement)"
        )
        met.append(what)
        if what == "flip-list":
            break
    order = ("skip", "summary", "toc", "f-comparison-rows", "comparison", "f-changes-rows", "changes", "flip-comparison", "flip-won")
    assert [met.index(name) for name in order] == sorted(met.index(name) for name in order)
    assert "flip-lost" not in met  # one stop for both tabs, arrows between them
    outline = page.evaluate("(e => getComputedStyle(e).outlineStyle)(document.activeElement)")
    assert outline != "none"
    page.evaluate("document.activeElement.blur()")
    page.click("h1")


def open_first_flip(page: Page) -> None:
    page.click("#flip-list summary")
    page.wait_for("document.querySelector('#flip-list .flip[open] dl')")


def test_flips_open_search_and_change_sides(page: Page) -> None:
    assert page.evaluate("document.querySelector('.browser').offsetHeight") > 0
    open_first_flip(page)
    told = page.evaluate("document.querySelector('#flip-list .flip[open]').innerText")
    for words in ("after the shared beginning", "何番ですか。", "Gold answer", "none (0 points)", "mixed (100 points)", "2000000番"):
        assert words in told
    assert page.evaluate("document.querySelector('#flip-list .flip[open] .said').lang") == "ja"
    assert "日本の首都" in page.evaluate("document.querySelector('#flip-beginning').textContent")
    won = page.evaluate("document.querySelector('#flip-won').textContent")
    assert page.evaluate("document.querySelector('#flip-told').textContent").endswith(
        "of 200 items, are in flips/mixed-vs-none--mini_choice.jsonl."
    )
    page.click("#flip-won")
    page.press("ArrowRight")
    assert page.evaluate("document.activeElement.id + document.activeElement.ariaSelected") == "flip-losttrue"
    assert page.evaluate("document.querySelector('#flip-means').textContent").startswith("Right: none. Wrong: mixed.")
    page.press("ArrowLeft")
    page.click("#flip-search")
    page.type("長い文章")
    found = page.evaluate("document.querySelectorAll('#flip-list .flip').length")
    assert 0 < found < int(won.split()[1])
    open_first_flip(page)
    page.click("#flip-list .flip[open] .more")
    assert page.evaluate("document.querySelector('#flip-list .flip[open] .said').textContent.length") > 1200
    page.evaluate("(s => { s.selectedIndex = 2; s.dispatchEvent(new Event('change')); })(document.querySelector('#flip-comparison'))")
    assert "its start weights" in page.evaluate("document.querySelector('#flip-means').textContent")


def test_markup_in_an_answer_stays_text(page: Page) -> None:
    page.click("#flip-search")
    page.type("x.test")
    open_first_flip(page)
    assert "</script><b>http://x.test" in page.evaluate("document.querySelector('#flip-list .flip[open]').innerText")
    assert page.evaluate("document.querySelectorAll('#flip-list dd b').length") == 0


def test_a_phone_scrolls_down_only_and_a_tap_shows_a_source(phone: Page) -> None:
    assert phone.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    phone.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert phone.evaluate("document.documentElement.scrollWidth") == 360
    small = "e => { const box = e.getBoundingClientRect(); return box.width && box.height < 24; }"
    assert (
        phone.evaluate(f"[...document.querySelectorAll('button, select, input, summary, nav a')].filter({small}).map(e => e.outerHTML)")
        == []
    )
    phone.tap(".comparison td[data-from]")
    phone.wait_for(SHOWN)
    box = phone.evaluate("(b => [b.left, b.right])(document.querySelector('#origin').getBoundingClientRect())")
    assert box[0] >= 0 and box[1] <= 360
    assert "none-s0" in phone.evaluate("document.querySelector('#origin').innerText")
    phone.tap("#origin .close")
    phone.wait_for(f"!({SHOWN})")
    phone.tap("#flip-list summary")
    phone.wait_for("document.querySelector('#flip-list .flip[open] dl')")


def test_dark_and_print_have_colours_of_their_own(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.prefer(dark=True)
    dark = page.evaluate(background)
    page.prefer(dark=True, medium="print")
    assert (light, page.evaluate(background)) == ("rgb(246, 247, 248)", "rgb(255, 255, 255)") and dark not in (light, "rgb(255, 255, 255)")
    assert page.evaluate("getComputedStyle(document.querySelector('.toc')).display") == "none"
    page.prefer(reduced_motion=True)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_a_link_to_a_run_opens_it(page: Page) -> None:
    page.evaluate("document.querySelector('.comparison td[data-from]').click()")
    page.click("#origin dd a")
    page.wait_for("document.querySelector('#run-none-s0').open")
    assert not page.evaluate(SHOWN)
