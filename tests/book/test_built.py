"""Each hole in built pages, made in pages that are healthy but for it, is found by the check that is for it."""

from __future__ import annotations

import pytest

from .conftest import Site, write

PAGE = "html/book/chapters/falling-water.html"
CDN = "https://cdn.example.org"


@pytest.mark.parametrize(
    ("html", "by", "address"),
    [
        (f'<script src="{CDN}/x.js"></script>', "script", f"{CDN}/x.js"),
        ('<script src="//cdn.example.org/x.js"></script>', "script", "//cdn.example.org/x.js"),
        ('<SCRIPT SRC="HTTP://cdn.example.org/x"></SCRIPT>', "script", "HTTP://cdn.example.org/x"),
        (f'<link rel="stylesheet" href="{CDN}/x.css">', "link rel=stylesheet", f"{CDN}/x.css"),
        (f'<link rel="icon" href="{CDN}/x.ico">', "link rel=icon", f"{CDN}/x.ico"),
        (f'<link rel="preconnect" href="{CDN}">', "link rel=preconnect", CDN),
        (f'<link rel="next prefetch" href="{CDN}/x">', "link rel=next prefetch", f"{CDN}/x"),
        (f'<img alt="a shield" src="{CDN}/x.svg">', "img", f"{CDN}/x.svg"),
        (f'<img alt="b" src="data:," srcset="{CDN}/x.png 2x">', "img", f"{CDN}/x.png"),
        (f'<picture><source srcset="{CDN}/y.png"></picture>', "source", f"{CDN}/y.png"),
        (f'<video src="{CDN}/x.mp4"></video>', "video", f"{CDN}/x.mp4"),
        (f'<iframe src="{CDN}/x.html"></iframe>', "iframe", f"{CDN}/x.html"),
        (f'<object data="{CDN}/x.svg"></object>', "object", f"{CDN}/x.svg"),
        (f'<svg><use xlink:href="{CDN}/x.svg#a" /></svg>', "use", f"{CDN}/x.svg#a"),
        (f'<style>@import "{CDN}/x.css";</style>', "@import", f"{CDN}/x.css"),
        (f'<p style="background: url({CDN}/x.png)">a</p>', "url()", f"{CDN}/x.png"),
        (f'<script type="module">import a from "{CDN}/a";</script>', "import", f"{CDN}/a"),
        (f'<script type="module">import "{CDN}/a";</script>', "import", f"{CDN}/a"),
        (f'<script>load(await import("{CDN}/a"));</script>', "import", f"{CDN}/a"),
        (f'<script>const URL = "{CDN}/a.js?v=1";</script>', "script", f"{CDN}/a.js?v=1"),
        (
            f'<script type="importmap">{{"imports": {{"d3": "{CDN}/d3.mjs"}}}}</script>',
            "script",
            f"{CDN}/d3.mjs",
        ),
    ],
)
def test_a_page_that_loads_from_another_host(site: Site, html: str, by: str, address: str) -> None:
    site.add(html)
    assert site.reports() == {"built.local": [f"{PAGE}: {by} loads {address} from another host"]}


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.css", f'@font-face {{ src: url("{CDN}/a.woff2") }}', f"url() loads {CDN}/a.woff2"),
        ("a.css", f"@import '{CDN}/a.css';", f"@import loads {CDN}/a.css"),
        ("a.css", f"@import url({CDN}/a.css);", f"url() loads {CDN}/a.css"),
        ("a.mjs", f'export {{ a }} from "{CDN}/a.mjs";', f"import loads {CDN}/a.mjs"),
        ("a.js", f'import{{a as b}}from"{CDN}/a";', f"import loads {CDN}/a"),
        ("a.js", f"importScripts('{CDN}/a');", f"import loads {CDN}/a"),
    ],
)
def test_a_style_or_script_that_loads_from_another_host(
    site: Site, name: str, text: str, what: str
) -> None:
    write(site.html, {f"_static/{name}": text})
    assert site.reports() == {"built.local": [f"html/_static/{name}: {what} from another host"]}


def test_a_page_that_loads_what_is_not_there(site: Site) -> None:
    # From the root of a host, as from the root of this machine, is not from beside the page.
    addresses = ["../../_static/gone.js", str(site.html / "_static" / "style.css")]
    site.add("".join(f'<script src="{address}"></script>' for address in addresses))
    lines = [f"{PAGE}: script loads {address}, which is not there" for address in addresses]
    assert site.reports() == {"built.local": lines}


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("gone.html", "leads to nothing"),
        ("../gone.html#top", "leads to nothing"),
        ("../index.html#id2", "leads to an anchor that its page does not have"),
        ("#fig-rise", "leads to an anchor that its page does not have"),
        ("/book/index.html", "begins at the root of a host, so it fails when read from files"),
        ("../", "leads to a folder, which opens nothing when read from files"),
    ],
)
def test_a_link_that_leads_nowhere(site: Site, link: str, problem: str) -> None:
    site.add(f'<a href="{link}">there</a>')
    assert site.reports() == {"built.links": [f"{PAGE}: its link {link} {problem}"]}


def test_a_redirection_that_leads_nowhere(site: Site) -> None:
    write(site.html, {"index.html": '<meta http-equiv="refresh" content="0; url=book/start.html">'})
    line = "html/index.html: its link book/start.html leads to nothing"
    assert site.reports() == {"built.links": [line]}


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("", "has no alternative text"),
        ('alt=""', "has no alternative text"),
        ('alt="  "', "has no alternative text"),
        ('role="presentation"', "has no alternative text"),
        ('alt="../../_images/fall.svg"', "has a file name for alternative text"),
        ('alt="fall.svg"', "has a file name for alternative text"),
        ('alt="my drawing.png"', "has a file name for alternative text"),
    ],
)
def test_an_image_that_cannot_be_read_aloud(site: Site, image: str, problem: str) -> None:
    site.add(f'<img {image} src="../../_images/fall.svg">')
    line = f"{PAGE}: its image ../../_images/fall.svg {problem}"
    assert site.reports() == {"built.images": [line]}


def test_only_the_theme_may_decorate(site: Site) -> None:
    site.add('<img role="presentation" src="../../_static/logo.svg">', before="</nav>")
    assert site.reports() == {}
    site.add('<img src="../../_static/logo.svg">', before="</nav>")
    line = f"{PAGE}: its image ../../_static/logo.svg has no alternative text"
    assert site.reports() == {"built.images": [line]}


def test_words_of_a_figure_that_are_too_small(site: Site) -> None:
    letters = '<svg><g transform="scale({} -{})"><use/><use transform="scale(0.8)"/></g></svg>'
    for name, size in (("fine", 0.12), ("small", 0.1)):
        write(site.html, {f"_images/{name}.svg": letters.format(size, size)})
        site.add(f'<img alt="A drop." src="../../_images/{name}.svg" width="900" height="9">')
        site.add(f'<picture><source srcset="../../_images/{name}.svg" width="420"></picture>')
    line = f"{PAGE}: its image ../../_images/small.svg has words of"
    assert site.reports() == {"built.small_words": [f"{line} 8.1 pixels", f"{line} 8.6 pixels"]}


def test_a_formula_that_no_browser_draws(site: Site) -> None:
    site.add('<div class="math notranslate">t^2</div>')
    line = f"{PAGE}: its formula 't^2' is not MathML"
    assert site.reports() == {"built.mathematics": [line]}
