"""Each fault that a reader's browser would show, made in healthy pages, is found; without it, nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from flatter_lib.publish.checks import browser

from .conftest import write

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=f"needs {browser.missing()}")

PAGE = """<!DOCTYPE html><html lang="en"><head><title>A page</title><link rel="icon" href="data:,"></head><body>
<main><h1>A page</h1><p>Words.</p>{}</main></body></html>"""
DRAWING = """<div class="explorable"><svg role="img" aria-label="a"></svg><label>eta
<input type="range" min="0" max="1" step="any"></label><p class="explorable-said"></p></div><script>
document.querySelector("input").addEventListener("input", () => {})</script>"""
LATE = """<p id="late"></p><p style="height: 600px">Words.</p><script>requestAnimationFrame(() => setTimeout(() =>
document.getElementById("late").style.height = "400px", 50))</script>"""
DOT = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
IMAGE = f'<article><img alt="a" style="break-inside: avoid; {{}}" src="data:image/gif;base64,{DOT}"></article>'
SCROLLS = "display: inline-block; width: 9px; overflow-x: auto"
ROWS = '<table class="ledger"><tr id="a"><td>a</td></tr></table>'
FAR = f'{ROWS}<p style="height: 900px">a</p>'
SLOWLY = "<style>:root {{ scroll-behavior: {} }}</style><p style='height: 9000px'>a</p>"
NUMBER = '<span class="eqno" style="{}">(1)</span>'
FORMULA = (
    '<article><div class="math" style="{}">{}<math><mspace width="{}px"/></math></div></article>'
)
BAR = "<style>.math::-webkit-scrollbar { height: 6px }</style>"
ARROW = '<a style="display: flex; overflow: hidden; width: 90px">' + "a" * 30 + "<i>&gt;</i></a>"
MOVES = 'document.querySelector(".explorable-said").textContent = event.target.value'


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("", ""),
        (DRAWING.replace("() => {}", f"event => {{ {MOVES} }}"), ""),
        (DRAWING, "its slider 'eta' moves nothing"),
        ("<script>throw new Error('no such thing')</script>", "no such thing"),
        ("<script>console.error('dear me')</script>", "dear me"),
        ('<img alt="a" src="gone.png">', "404"),
        ('<img alt="a" src="http://127.0.0.1:9/a.png">', "asks for http://127.0.0.1:9/a.png"),
        ('<p style="width: 500px">Wide.</p>', "scrolls"),
        ('<p style="width: 335px">Wide.</p>', "scrolls 3 pixels sideways at 340"),
        (f"<!--{'a' * 1_501_000}-->", "weighs 1501 kB of files, more than 1500"),
        (LATE, "while it is loading"),
        (
            f'<article><span class="math" style="{SCROLLS}">aaaaaaaaaaa</span></article>',
            "1 formulas",
        ),
        (
            '<article><p>So <b class="pasted-text">2</b>.</p></article>',
            "1 measured numbers are bolder",
        ),
        (f'<p class="prev-next-area">{ARROW}</p>', "1 arrows to other pages are cut at 360"),
        ("<i></i>" * 21_900, ""),
        (SLOWLY.format("auto") + "<div style='content-visibility: auto'>" + "<i></i>" * 22_000, ""),
        ("<i></i>" * 22_000, "elements at once, more than 22000"),
        (
            f"<article><pre style='overflow-x: auto'>{'a' * 99}</pre></article>",
            "1 blocks of code are cut at 360",
        ),
        (FORMULA.format("overflow-x: auto", "", 500), "1 things scroll and do not show it"),
        (BAR + FORMULA.format("overflow-x: auto", "", 500), ""),
        (BAR + FORMULA.format("overflow-x: auto", "", 900), "1 formulas are wider than two pages"),
        (
            BAR + FORMULA.format("overflow-x: auto", NUMBER.format("margin-left: 340px"), 9),
            "1 numbers of formulas are out of sight",
        ),
        (SLOWLY.format("auto") + FAR, ""),
        (SLOWLY.format("smooth") + FAR, "a link to a does not land at 1280"),
        (IMAGE.format(""), ""),
        (IMAGE.format("height: 1200px"), "1 figures are cut"),
        (IMAGE.format("break-inside: auto"), "1 figures are cut"),
        ('<div style="overflow-x: auto"><p style="width: 500px">Wide.</p></div>', ""),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "axe: image-alt, critical"),
        ('<p style="color: #ccc; background: #fff">Pale.</p>', "axe: color-contrast, serious"),
    ],
)
def test_a_fault_that_a_browser_shows(tmp_path: Path, html: str, said: str) -> None:
    away = '<meta http-equiv="Refresh" content="0; url=page.html" />'
    write(tmp_path, {"page.html": PAGE.format(html), "index.html": away})
    found = [str(finding) for finding in browser.opened(tmp_path)]
    assert bool(found) == bool(said)
    assert not said or any(said in line for line in found), found
    assert all(line.startswith(f"{tmp_path.name}/page.html: ") for line in found)
