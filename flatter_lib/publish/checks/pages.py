"""The built pages: they load nothing from another host, every link leads somewhere, every image can be read aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flatter_lib.publish.checks import html as pages
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.html import Image, Load, Page
from flatter_lib.publish.project import Project

#: Pages that Sphinx adds of its own: the way in, the search, the indices of names and of theorems.
OF_SPHINX = {"index", "genindex", "search", "py-modindex", "prf-prf", "404"}
_ELSEWHERE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_MATHJAX = re.compile(r"mathjax.*\.js\Z", re.IGNORECASE)
_FILE_NAME = re.compile(r".+\.(png|svg|jpe?g|gif|webp)\Z", re.IGNORECASE)


def local(project: Project, html: Path) -> list[Finding]:
    """No page, style sheet or script loads anything from another host, and what they load is there."""
    found: list[Finding] = []
    for path, page in _pages(html):
        for load in page.loads:
            found += _load_problems(html, path, load)
    for path in sorted(html.rglob("*.css")):
        for load in pages.loads_of_style(_text(path)):
            found += _load_problems(html, path, load)
    for path in sorted(html.rglob("*.js")) + sorted(html.rglob("*.mjs")):
        for load in pages.loads_of_module(_text(path)):
            found += _load_problems(html, path, load)
    return list(dict.fromkeys(found))


def links(project: Project, html: Path) -> list[Finding]:
    """Every link inside the book leads to a page or file that is there, and to an anchor that is on it."""
    read = dict(_pages(html))
    found = []
    for path, page in read.items():
        for link in dict.fromkeys(page.links):
            if problem := _link_problem(html, path, link, read):
                cure = "mend the reference in the source, then build again: flatter book"
                found.append(Finding(_name(html, path), f"its link {link} {problem}", cure))
    return found


def images(project: Project, html: Path) -> list[Finding]:
    """Every image has alternative text that is not its file name; only the theme's own may be decoration."""
    found = []
    for path, page in _pages(html):
        for image in page.images:
            if problem := _image_problem(image):
                cure = "describe it: `mystnb: image: alt:` in the header of its cell, or `:alt:` of its directive"
                found.append(
                    Finding(_name(html, path), f"its image {image.address} {problem}", cure)
                )
    return found


def in_contents(project: Project, html: Path) -> list[Finding]:
    """Every built page is in the table of contents, and every document there was built."""
    built = {path.relative_to(html).with_suffix("").as_posix(): path for path, _ in _pages(html)}
    named = set(project.toc_files())
    found = []
    for name in sorted(set(built) - named - OF_SPHINX):
        cure = "name it in _toc.yml, or leave it out of the build"
        found.append(Finding(_name(html, built[name]), "is in no table of contents", cure))
    for name in sorted(named - set(built)):
        found.append(Finding("_toc.yml", f"{name} was not built", "build again: flatter book"))
    return found


def mathematics(project: Project, html: Path) -> list[Finding]:
    """Every page with formulas draws them with a MathJax that lies beside it."""
    found = []
    for path, page in _pages(html):
        if page.has_mathematics and not any(
            _is_local_mathjax(html, path, load) for load in page.loads
        ):
            cure = "keep flatter_lib.publish.sphinx among the extensions in _config.yml, then: flatter book"
            found.append(Finding(_name(html, path), "has formulas and no MathJax of its own", cure))
    return found


def _pages(html: Path) -> Iterator[tuple[Path, Page]]:
    for path in sorted(html.rglob("*.html")):
        if not any(part.startswith("_") for part in path.relative_to(html).parts[:-1]):
            yield path, pages.read(path)


def _load_problems(html: Path, path: Path, load: Load) -> Iterator[Finding]:
    where = _name(html, path)
    if _ELSEWHERE.match(load.address):
        cure = "ship it with the book, or leave it out"
        yield Finding(where, f"{load.by} loads {load.address} from another host", cure)
    elif not _SCHEME.match(load.address) and not load.address.startswith("#"):
        target = _target(path, load.address)
        if load.address.startswith("/") or not target.is_file():
            what = f"{load.by} loads {load.address}, which is not there"
            yield Finding(where, what, "build again: flatter book")


def _link_problem(html: Path, path: Path, link: str, read: dict[Path, Page]) -> str:
    if _ELSEWHERE.match(link) or _SCHEME.match(link):
        return ""
    if link.startswith("/"):
        return "begins at the root of a host, so it fails when read from files"
    target, anchor = _target(path, link), unquote(urlsplit(link).fragment)
    if target.is_dir():
        return "leads to a folder, which opens nothing when read from files"
    if not target.is_file():
        return "leads to nothing"
    if anchor and anchor != "top" and target in read and anchor not in read[target].anchors:
        return "leads to an anchor that its page does not have"
    return ""


def _image_problem(image: Image) -> str:
    decoration = image.role in ("presentation", "none") or image.alt == ""
    if decoration and not image.in_article:
        return ""
    if not image.alt or not image.alt.strip():
        return "has no alternative text"
    if _FILE_NAME.fullmatch(image.alt.strip()):
        return "has a file name for alternative text"
    return ""


def _is_local_mathjax(html: Path, path: Path, load: Load) -> bool:
    address = urlsplit(load.address).path
    is_mathjax = load.by == "script" and bool(_MATHJAX.search(address))
    return is_mathjax and _target(path, load.address).is_file()


def _target(path: Path, address: str) -> Path:
    """The file that an address on a page means."""
    plain = unquote(urlsplit(address).path)
    return Path(path.parent, plain).resolve() if plain else path


def _name(html: Path, path: Path) -> str:
    return f"{html.name}/{path.relative_to(html).as_posix()}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
