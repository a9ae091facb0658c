"""A built page as the checks see it: what it loads, where its links lead, its anchors, its images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

#: Relations of a <link> that fetch nothing when the page is opened.
SILENT_LINKS = {
    *(
        "alternate",
        "author",
        "bookmark",
        "canonical",
        "contents",
        "copyright",
        "external",
        "first",
        "help",
    ),
    *(
        "home",
        "index",
        "last",
        "license",
        "next",
        "prev",
        "previous",
        "search",
        "start",
        "top",
        "up",
    ),
}
#: Elements with the attributes by which they load something.
LOADING = {
    "audio": ("src",),
    "embed": ("src",),
    "frame": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_IN_STYLE = re.compile(r"@import\s+[\"']([^\"']+)[\"']|url\(\s*[\"']?([^\"')]+)[\"']?\s*\)")
_IN_SCRIPT = re.compile(
    r"\bimport\s*\(?\s*[\"'`]((?:https?:)?//[^\"'`]+)[\"'`]"
    r"|\bfrom\s*[\"']((?:https?:)?//[^\"']+)[\"']"
    r"|\bimportScripts\(\s*[\"']((?:https?:)?//[^\"']+)[\"']"
)
#: The address of a script or style in an inline script: whoever writes it there loads it sooner or later.
_SCRIPT_ADDRESS = re.compile(
    r"[\"'`]((?:https?:)?//[^\"'`\s]+\.(?:m?js|css|wasm)(?:[?#][^\"'`\s]*)?)[\"'`]"
)


@dataclass(frozen=True)
class Load:
    """Something that a page or a style fetches: by which element or rule, and from where."""

    by: str
    address: str


@dataclass(frozen=True)
class Image:
    """An image of a page; ``alt`` is None where the attribute is missing."""

    address: str
    alt: str | None
    role: str
    in_article: bool


@dataclass
class Page:
    """A page: everything that it loads, links to, can be linked at, and shows."""

    loads: list[Load] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    images: list[Image] = field(default_factory=list)
    has_mathematics: bool = False


def read(path: Path) -> Page:
    """The page in an HTML file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page


def loads_of_style(text: str) -> Iterator[Load]:
    """What a style sheet fetches."""
    for match in _IN_STYLE.finditer(text):
        yield Load(
            "@import" if match.group(1) else "url()", (match.group(1) or match.group(2)).strip()
        )


def loads_of_module(text: str) -> Iterator[Load]:
    """What a script of its own file imports from other hosts."""
    for match in _IN_SCRIPT.finditer(text):
        yield Load("import", next(group for group in match.groups() if group))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._articles = 0
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.anchors.update(given[key] for key in ("id", "name") if given.get(key))
        self.page.has_mathematics |= "math" in given.get("class", "").split()
        self.page.loads += loads_of_style(given.get("style", ""))
        self._articles += tag == "article"
        self._inside = tag if tag in ("script", "style") else ""
        if tag in ("a", "area") and "href" in given:
            self.page.links.append(given["href"])
        if (
            tag == "link"
            and given.get("href")
            and not set(given.get("rel", "").split()) <= SILENT_LINKS
        ):
            self.page.loads.append(Load(f"link rel={given.get('rel', '')}", given["href"]))
        if tag == "meta" and given.get("http-equiv", "").casefold() == "refresh":
            self.page.links.append(given.get("content", "").partition("=")[2].strip())
        for attribute in LOADING.get(tag, ()):
            addresses = _candidates(attribute, given.get(attribute, ""))
            self.page.loads += [Load(tag, address) for address in addresses]
        if tag == "img":
            hidden = given.get("aria-hidden") == "true"
            role = "presentation" if hidden else given.get("role", "")
            image = Image(given.get("src", ""), given.get("alt"), role, self._articles > 0)
            self.page.images.append(image)

    def handle_endtag(self, tag: str) -> None:
        self._articles -= tag == "article" and self._articles > 0
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.page.loads += loads_of_style(data)
        if self._inside == "script":
            self.page.loads += loads_of_module(data)
            self.page.loads += [Load("script", m.group(1)) for m in _SCRIPT_ADDRESS.finditer(data)]


def _candidates(attribute: str, value: str) -> list[str]:
    if attribute != "srcset":
        return [value.strip()] if value.strip() else []
    return [part.split()[0] for part in value.split(",") if part.strip()]
