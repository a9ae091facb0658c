"""The built pages: they load nothing from another host, every link leads somewhere, every image can be read aloud."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from flatter_lib.figures.style import PHONE, SMALLEST, WIDE
from flatter_lib.figures.svg import smallest_words
from flatter_lib.publish.checks.finding import Finding

#: Relations of a <link> that fetch nothing when the page is opened.
SILENT_LINKS = {"alternate", "author", "canonical", "copyright", "help", "index", "license"}
SILENT_LINKS |= {"next", "prev", "search"}
#: Attributes by which an element loads something; those of the second row only in a drawing.
LOADING, DRAWN = ("src", "srcset", "poster", "data"), ("href", "xlink:href")
_IN_STYLE = re.compile(r"@import\s+[\"']([^\"']+)[\"']|url\(\s*[\"']?([^\"')]+)[\"']?\s*\)")
_IN_SCRIPT = re.compile(
    r"\b(?:import|importScripts|from)\s*\(?\s*[\"'`]((?:https?:)?//[^\"'`]+)[\"'`]"
)
#: The address of a script or style in an inline script: whoever writes it there loads it sooner or later.
_SCRIPT_ADDRESS = re.compile(
    r"[\"'`]((?:https?:)?//[^\"'`\s]+\.(?:m?js|css|wasm)(?:[?#][^\"'`\s]*)?)[\"'`]"
)
_ELSEWHERE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_FILE_NAME = re.compile(r".+\.(png|svg|jpe?g|gif|webp)\Z", re.IGNORECASE)

#: By which element or rule something is fetched, and from where.
Load = tuple[str, str]


@dataclass(frozen=True)
class Site:
    """The folder of the built pages, and every page in it, taken apart."""

    html: Path
    pages: dict[Path, BeautifulSoup]

    def name(self, path: Path) -> str:
        """A file as findings call it."""
        return f"{self.html.name}/{path.relative_to(self.html).as_posix()}"


def read(html: Path) -> Site:
    """The pages in a folder; what lies in ``_static`` and its like are parts of pages."""
    html = html.resolve()
    pages = {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(html.rglob("*.html"))
        if not any(part.startswith("_") for part in path.relative_to(html).parts[:-1])
    }
    return Site(html, pages)


def local(site: Site) -> list[Finding]:
    """No page, style sheet or script loads anything from another host, and what they load is there."""
    loads = [(path, load) for path, page in site.pages.items() for load in _loads(page)]
    for path in sorted([*site.html.rglob("*.css"), *site.html.rglob("*.*js")]):
        loads_of = _loads_of_style if path.suffix == ".css" else _loads_of_script
        text = path.read_text(encoding="utf-8", errors="replace")
        loads += [(path, load) for load in loads_of(text)]
    found = []
    for path, (by, address) in dict.fromkeys(loads):
        if _ELSEWHERE.match(address):
            what, cure = " from another host", "ship it with the book, or leave it out"
        elif _SCHEME.match(address) or address.startswith("#"):
            continue
        elif address.startswith("/") or not _target(path, address).is_file():
            what, cure = ", which is not there", "build again: flatter book"
        else:
            continue
        found.append(Finding(site.name(path), f"{by} loads {address}{what}", cure))
    return found


def links(site: Site) -> list[Finding]:
    """Every link inside the book leads to a page or file that is there, and to an anchor that is on it."""
    anchors = {
        path: {tag.get(key) for tag in page.select("[id], [name]") for key in ("id", "name")}
        for path, page in site.pages.items()
    }
    cure = "mend the reference in the source, then build again: flatter book"
    return [
        Finding(site.name(path), f"its link {link} {problem}", cure)
        for path, page in site.pages.items()
        for link in dict.fromkeys(_links(page))
        if (problem := _link_problem(path, link, anchors))
    ]


def images(site: Site) -> list[Finding]:
    """Every image has alternative text that is not its file name; only the theme's own may be decoration."""
    cure = (
        "describe it: `mystnb: image: alt:` in the header of its cell, or `:alt:` of its directive"
    )
    return [
        Finding(site.name(path), f"its image {image.get('src')} {problem}", cure)
        for path, page in site.pages.items()
        for image in page.select("img")
        if (problem := _image_problem(image))
    ]


def small_words(site: Site) -> list[Finding]:
    """No drawing's words are smaller than can be read in the column of a wide page, or of a phone."""
    found = []
    for path, page in site.pages.items():
        drawings = [
            ("img[src$='.svg'][width]", "src", WIDE),
            ("source[srcset][width]", "srcset", PHONE),
        ]
        for kind, address, column in drawings:
            for image in page.select(kind):
                file = _target(path, str(image[address]))
                drawing = file.read_text(encoding="utf-8") if file.is_file() else ""
                words = smallest_words(drawing) * min(1, column / float(str(image["width"])))
                if words < SMALLEST:
                    what = f"its image {image[address]} has words of {words:.1f} pixels"
                    cure = "show it by figures.show, which draws for the page, then: flatter run CHAPTER"
                    found.append(Finding(site.name(path), what, cure))
    return found


def mathematics(site: Site) -> list[Finding]:
    """Every formula is MathML, which a browser draws by itself."""
    cure = "keep flatter_lib.publish.sphinx among the extensions in _config.yml, then: flatter book"
    return [
        Finding(site.name(path), f"its formula {formula.get_text()[:40]!r} is not MathML", cure)
        for path, page in site.pages.items()
        for formula in page.select(".math")
        if formula.find("math") is None
    ]


def _loads(page: BeautifulSoup) -> Iterator[Load]:
    """Everything that a page fetches when it is opened."""
    for tag in page.find_all(True):
        yield from _loads_of_style(str(tag.get("style", "")))
        for name in LOADING + DRAWN * (tag.name in ("image", "use")):
            value = str(tag.get(name, ""))
            parts = value.split(",") if name == "srcset" else [value]
            yield from ((tag.name, part.split()[0]) for part in parts if part.strip())
        relations = tag.get_attribute_list("rel") if tag.name == "link" else []
        if not SILENT_LINKS.issuperset(relations) and tag.get("href"):
            yield f"link rel={' '.join(map(str, relations))}", str(tag["href"])
        if tag.name == "style":
            yield from _loads_of_style(tag.get_text())
        if tag.name == "script":
            yield from _loads_of_script(tag.get_text())
            yield from (("script", found) for found in _SCRIPT_ADDRESS.findall(tag.get_text()))


def _loads_of_style(text: str) -> Iterator[Load]:
    for match in _IN_STYLE.finditer(text):
        by = "@import" if match.group(1) else "url()"
        yield by, (match.group(1) or match.group(2)).strip()


def _loads_of_script(text: str) -> Iterator[Load]:
    """What a script imports from other hosts."""
    yield from (("import", address) for address in _IN_SCRIPT.findall(text))


def _links(page: BeautifulSoup) -> Iterator[str]:
    yield from (str(tag["href"]) for tag in page.select("a[href], area[href]"))
    for tag in page.select("meta[http-equiv=refresh i]"):
        yield str(tag.get("content", "")).partition("=")[2].strip()


def _link_problem(path: Path, link: str, anchors: Mapping[Path, Container[object]]) -> str:
    if _ELSEWHERE.match(link) or _SCHEME.match(link):
        return ""
    if link.startswith("/"):
        return "begins at the root of a host, so it fails when read from files"
    target, anchor = _target(path, link), unquote(urlsplit(link).fragment)
    if target.is_dir():
        return "leads to a folder, which opens nothing when read from files"
    if not target.is_file():
        return "leads to nothing"
    if anchor not in ("", "top") and anchor not in anchors.get(target, {anchor}):
        return "leads to an anchor that its page does not have"
    return ""


def _image_problem(image: Tag) -> str:
    alt = str(image.get("alt", "")).strip()
    decoration = image.get("role") in ("presentation", "none") or image.get("aria-hidden") == "true"
    if (decoration or image.get("alt") == "") and not image.find_parent("article"):
        return ""
    if not alt:
        return "has no alternative text"
    return "has a file name for alternative text" if _FILE_NAME.fullmatch(alt) else ""


def _target(path: Path, address: str) -> Path:
    """The file that an address on a page means."""
    plain = unquote(urlsplit(address).path)
    return Path(path.parent, plain).resolve() if plain else path
