"""The built pages as a reader's browser has them: opened over loopback, weighed, moved, narrowed, printed, read by axe.

Needed are Chromium on this machine, and the packages playwright and axe-playwright-python; :func:`missing` says which
is not there.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import itertools
import shutil
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flatter_lib.publish.checks import built
from flatter_lib.publish.checks.finding import Finding

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("playwright", "axe_playwright_python")
#: Pixels of the widths at which a page is looked at.
WIDE, NARROW = 1280, (360, 340)
#: What axe must not find, of this weight.
SEVERE = ("serious", "critical")
_AXE = (
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa'], resultTypes: ['violations'], preload: false })"
    ".then(r => r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 90)]))"
)
#: What a page may load, in kB: scripts, all, and all as a host sends it, gzipped.
WEIGHED = ("scripts", "files", "files as they are sent")
BUDGET = (300, 1500, 500)
#: Pages that may load more, and how much, in kB, each with its reason.
OVER: dict[str, tuple[int, int, int]] = {}
#: How far things may move while a page is loading, as browsers measure it.
SHIFT = 0.1
_SHIFT = """() => new Promise(done => {
  new PerformanceObserver(list => done(list.getEntries().reduce((sum, x) => sum + (x.hadRecentInput ? 0 : x.value), 0)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(0), 200);
})"""
#: Formulas in lines that would need a scrollbar; none on a wide page.
_SCROLLED = """() => [...document.querySelectorAll("article span.math")]
  .filter(x => getComputedStyle(x).overflowX !== "visible" && x.scrollWidth > x.clientWidth + 1).length"""
#: Elements that may be set when a page is opened. On a quiet core the longest chapter, of 19,000, is interactive after
#: 0.43 s, so half a second is for about 22,000. Not counted is what is set when it comes near the screen.
ELEMENTS = 22_000
_ELEMENTS = """() => [...document.querySelectorAll("body *")]
  .filter(x => x.checkVisibility({ contentVisibilityAuto: true })).length"""
#: What a narrow page does not show: lines of code that end outside, numbers of formulas; formulas of which less than
#: half is seen at once; bold numbers, cut arrows; and what moves sideways without a bar that says so.
_OUTSIDE = """() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const all = (what) => [...document.querySelectorAll(what)].filter((x) => x.checkVisibility());
  const wider = (x) => x.scrollWidth > x.clientWidth + 1;
  const room = document.querySelector("article")?.clientWidth;
  const found = {
    "blocks of code are cut": all("article pre").filter(wider),
    "numbers of formulas are out of sight": all("article div.math .eqno").filter(
      (x) => x.getBoundingClientRect().right > x.parentElement.getBoundingClientRect().right + 1),
    "formulas are wider than two pages": all("article div.math > math").filter(
      (x) => x.getBoundingClientRect().width > 2 * room),
    "measured numbers are bolder than their sentence": all("article .pasted-text").filter(
      (x) => getComputedStyle(x).fontWeight !== getComputedStyle(x.parentElement).fontWeight),
    "arrows to other pages are cut": all(".prev-next-area i").filter(
      (x) => x.getBoundingClientRect().right > x.closest("a").getBoundingClientRect().right + 1),
    "things scroll and do not show it": all("article div.math, article .pst-scrollable-table-container").filter(
      (x) => wider(x) && !(parseFloat(getComputedStyle(x, "::-webkit-scrollbar").height) > 0)),
  };
  return Object.entries(found).filter(([, each]) => each.length).map(([what, each]) => `${each.length} ${what}`);
}"""
#: Where the middle and the last row of the page of claims stand that a link may lead to; none elsewhere.
_ROWS = """() => {
  const rows = [...document.querySelectorAll("table.ledger tr[id]")];
  return rows.length ? [rows[rows.length >> 1].id, rows.at(-1).id] : [];
}"""
_TOP = """id => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
  done(document.getElementById(id).getBoundingClientRect().top))))"""
#: Pixels of what a sheet of paper shows.
SHEET = (673, 979)
#: Figures that paper would show cut, or not at all.
_CUT = """() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  return [...document.querySelectorAll("article img, article .explorable")].filter(x => {
    const { right, height } = x.getBoundingClientRect();
    const whole = getComputedStyle(x.closest("figure") ?? x).breakInside === "avoid";
    return x.naturalWidth === 0 || right > innerWidth + 1 || height > innerHeight || !whole;
  }).length;
}"""
#: Moves a slider of a drawing a step and says whether the picture or its words are others then.
_MOVE = """async slider => {
  const drawing = slider.closest(".explorable");
  const seen = () => drawing.querySelector("svg").innerHTML + drawing.querySelector(".explorable-said").textContent;
  const drawn = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  await drawn();
  const before = seen();
  slider.value = Number(slider.value) < 0.5 ? 0.8 : 0.2;
  slider.dispatchEvent(new Event("input"));
  await drawn();
  return seen() !== before;
}"""


def missing() -> str:
    """What this machine lacks to open pages; empty if nothing."""
    lacks = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not any(map(shutil.which, BROWSERS)):
        lacks.append("chromium")
    return ", ".join(lacks)


def opened(html: Path) -> list[Finding]:
    """All that goes wrong when the pages in a folder are opened: errors, other hosts, drawings, width, what axe finds.

    Args:
        html: where the pages were built.
    """
    import axe_playwright_python

    site = built.read(html)
    (axe,) = Path(*axe_playwright_python.__path__).rglob("axe.min.js")
    found = []
    with served(site.html) as home, started() as browser:
        context = browser.new_context(reduced_motion="reduce")
        context.set_default_timeout(60_000)
        for path, parsed in site.pages.items():
            if parsed.select_one("meta[http-equiv=Refresh i]"):  # it is left at once
                continue
            page = context.new_page()
            address = f"{home}/{path.relative_to(site.html).as_posix()}"
            problems = _problems(page, address, home, site.html, axe)
            found += [Finding(site.name(path), what, cure) for what, cure in problems]
            page.close()
    return found


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """This machine's browser, as long as it is needed."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)))
    options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder is served to this machine, as long as it is."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _weights(files: Sequence[Path]) -> tuple[int, int, int]:
    """Of files that a page loads, in kB: the scripts, all, and all gzipped."""
    sizes = {file: _sizes(file) for file in files}
    scripts = sum(size for file, (size, _) in sizes.items() if file.suffix == ".js")
    whole, zipped = (sum(part) for part in zip((0, 0), *sizes.values(), strict=True))
    return round(scripts / 1000), round(whole / 1000), round(zipped / 1000)


@functools.cache
def _sizes(file: Path) -> tuple[int, int]:
    """Bytes of a file, as it is and as it is sent; fonts and photographs are packed already."""
    content = file.read_bytes()
    packed = file.suffix in (".woff", ".woff2", ".png", ".jpg", ".jpeg")
    return len(content), len(content if packed else gzip.compress(content))


def _problems(
    page: Page, address: str, home: str, html: Path, axe: Path
) -> Iterator[tuple[str, str]]:
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": WIDE, "height": 900})
    page.goto(address)
    name = address.removeprefix(f"{home}/")
    files = {unquote(urlsplit(url).path)[1:] for url in asked if url.startswith(f"{home}/")}
    weights = _weights([html / file for file in files if (html / file).is_file()])
    for what, weight, most in zip(WEIGHED, weights, OVER.get(name, BUDGET), strict=True):
        if weight > most:
            yield f"weighs {weight} kB of {what}, more than {most}", "load less, or say why in OVER"
    if (shift := page.evaluate(_SHIFT)) > SHIFT:
        yield f"moves by {shift:.2f} while it is loading", "give what comes late its size"
    if (many := page.evaluate(_ELEMENTS)) > ELEMENTS:
        cure = "say it with fewer, or set them late, as book/_static/flatter.css sets claims"
        yield f"sets {many} elements at once, more than {ELEMENTS}", cure
    if scrolled := page.evaluate(_SCROLLED):
        yield f"{scrolled} formulas in lines scroll", "let them overflow, or set them apart"
    for slider in page.query_selector_all(".explorable input[type=range]"):
        if not slider.evaluate(_MOVE):
            label = slider.evaluate("x => x.parentElement.innerText.trim()")
            yield f"its slider {label!r} moves nothing", "mend the drawing in book/explorables"
    page.add_script_tag(path=axe)
    for impact, rule, count, example in page.evaluate(_AXE):
        if impact in SEVERE:
            yield (
                f"axe: {rule}, {impact}, {count} times, first {example}",
                "see axe's own page on this rule",
            )
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 800})
        over = page.evaluate("() => document.scrollingElement.scrollWidth - window.innerWidth")
        if over > 1:
            cure = "give what is wide a box that scrolls"
            yield f"scrolls {over} pixels sideways at {width}", cure
        for what in page.evaluate(_OUTSIDE):
            yield f"{what} at {width}", "see max-width in book/_static/flatter.css"
    page.set_viewport_size({"width": SHEET[0], "height": SHEET[1]})
    page.emulate_media(media="print")
    if cut := page.evaluate(_CUT):
        yield f"{cut} figures are cut on paper", "see @media print in book/_static/flatter.css"
    page.emulate_media(media="screen", reduced_motion="no-preference")
    for width, row in itertools.product((WIDE, NARROW[0]), page.evaluate(_ROWS)):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto("about:blank")
        page.goto(f"{address}#{row}")
        if not -1 <= page.evaluate(_TOP, row) < 400:
            cure = "see content-visibility in book/_static/flatter.css"
            yield f"a link to {row} does not land at {width}", cure
    yield from ((f"its scripts say: {error}", "mend the script") for error in errors)
    hosts = sorted({url for url in asked if not url.startswith((f"{home}/", "data:", "blob:"))})
    yield from ((f"asks for {url}", "ship it with the book, or leave it out") for url in hosts)
