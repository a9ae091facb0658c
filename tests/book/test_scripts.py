"""The pages' own scripts, in a browser: what a link leads to is shown, and what the search leaves out is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flatter_lib.publish.checks import browser

from .conftest import write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=f"needs {browser.missing()}")
BOOK = Path(__file__).parents[2] / "book"
PAGE = """<!DOCTYPE html><html lang="en"><head><title>A</title><script src="preview.js"></script></head><body><article>
<a class="reference internal" id="far" href="b.html#term-drop">drop</a>
<a class="reference internal" id="near" href="#equation-e">(1)</a>
<a class="reference internal" id="part" href="#section">Section</a>
<a class="reference internal" id="row" href="#ledger-fall">fall</a>
<table><tr id="ledger-fall"><td><p>It falls.</p><p>Section 1</p></td><td><p>The time.</p><p class="value">0.45</p>
<p>A caveat.</p></td><td><p><span class="verdict">reproduced</span></p></td></tr></table>
<p id="section">Words.</p><div class="math" id="equation-e" tabindex="0">x = 1</div></article>
<template data-preview="b.html#term-drop"><dl><dt>drop</dt><dd>Small.</dd></dl></template></body></html>"""
SEARCH = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head><body>
<div id="search-results"></div><script>window.finds = [
["Momentum is best at $\\\\eta^{2/3}$.", "claims.html#ledger-ff-two", "ff-two Section 1"],
["Equation (1)", "a.html#equation-e", "equation-e \\\\Big(\\\\varepsilon_{\\\\rm eff}\\\\Big)^2"]];</script>
<script src="find.js"></script></body></html>"""


@pytest.fixture(scope="module")
def program() -> Iterator[Browser]:
    with browser.started() as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> str:
    write(tmp_path, {"a.html": PAGE, "b.html": "<title>B</title>", "search.html": SEARCH})
    for name in ("_static/preview.js", "explorables/find.js"):
        write(tmp_path, {Path(name).name: (BOOK / name).read_text(encoding="utf-8")})
    return tmp_path.as_uri()


def test_what_a_link_leads_to_is_shown_at_the_keyboard_and_under_the_mouse(
    program: Browser, home: str
) -> None:
    page = program.new_page()
    page.goto(f"{home}/a.html")
    shown = page.locator("#preview")
    row = "It falls.\nThe time.\n0.45\nreproduced"
    for name, said in (("far", "drop\nSmall."), ("near", "x = 1"), ("row", row)):
        page.focus(f"#{name}")
        assert shown.inner_text().strip().replace("\n\n", "\n") == said
        assert page.get_attribute(f"#{name}", "aria-describedby") == "preview"
        page.keyboard.press("Escape")
        assert shown.is_hidden()
    page.focus("#part")
    assert shown.is_hidden()
    page.hover("#near")
    shown.wait_for(state="visible")
    page.mouse.move(500, 500)
    shown.wait_for(state="hidden")
    assert page.locator("#equation-e").count() == 1  # what is shown has no second name
    page.close()


def test_the_first_touch_shows_and_the_second_one_follows(program: Browser, home: str) -> None:
    context = program.new_context(has_touch=True)
    page = context.new_page()
    page.goto(f"{home}/a.html")
    page.tap("#far")
    assert page.locator("#preview").is_visible()
    assert page.url.endswith("a.html")
    page.tap("#far")
    page.wait_for_url("**/b.html#term-drop")
    context.close()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("2/3", ["Momentum is best at \\eta^{2/3}."]),
        ("η^(2/3)", ["Momentum is best at \\eta^{2/3}."]),
        ("ff-two", ["Momentum is best at \\eta^{2/3}."]),
        ("epsilon_eff^2", ["Equation (1)"]),
        ("equation momentum", []),
    ],
)
def test_formulas_and_rows_are_found(
    program: Browser, home: str, asked: str, found: list[str]
) -> None:
    page = program.new_page()
    page.goto(f"{home}/search.html?q={asked}")
    assert page.locator(".finds a").all_inner_texts() == found
    page.close()
