"""Links that no build follows: those of the documents beside the book, and all that lead to other hosts.

The first are checked with the book's sources. The others are listed, and asked for when somebody says so: no test
depends on another host.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from flatter_lib.publish.checks import built
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Project

#: Seconds that a host may take to answer.
PATIENCE = 20
_LINK = re.compile(r"\]\(<?([^()\s>]+(?:\([^()\s]*\))?)>?[^)]*\)|<img [^>]*?src=\"([^\"]+)\"")
_BARE = re.compile(r"https?://[^\s<>()\"'`\]]+(?<![.,;:])")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_CODE = re.compile(r"^(?:    .*|```.*?^```.*)$", re.MULTILINE | re.DOTALL)
_OTHER_HOST = re.compile(r"https?://", re.IGNORECASE)


def documents(project: Project) -> list[Finding]:
    """Every link of the documents beside the book leads to a file that is there, and to a heading that it has."""
    found = []
    for path in sorted(project.root.glob("*.md")):
        for link in dict.fromkeys(_links(path)):
            if problem := _problem(path, link):
                found.append(Finding(path.name, f"its link {link} {problem}", "mend the link"))
    return found


def external(project: Project, html: Path) -> dict[str, list[str]]:
    """Every address on another host that the book or a document beside it leads to, and from where.

    Args:
        project: the checkout.
        html: the built pages.
    """
    found: dict[str, set[str]] = {}
    site = built.read(html)
    for page_path, page in site.pages.items():
        for tag in page.select("a[href]"):
            found.setdefault(str(tag["href"]), set()).add(site.name(page_path))
    for path in (*project.root.glob("*.md"), *project.root.glob("*.cff")):
        for address in _BARE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(address, set()).add(path.name)
    return {a: sorted(found[a]) for a in sorted(found) if _OTHER_HOST.match(a)}


def tried(addresses: list[str]) -> Iterator[tuple[str, str]]:
    """Ask for each address; what came instead of a page, empty if one did."""
    with ThreadPoolExecutor(8) as pool:
        yield from zip(addresses, pool.map(_answer, addresses), strict=True)


def _answer(address: str) -> str:
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (links)"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return str(error)


def _links(path: Path) -> Iterator[str]:
    """What a document leads to, or shows; listings are left out."""
    text = _CODE.sub("", path.read_text(encoding="utf-8"))
    yield from (a or b for a, b in _LINK.findall(re.sub(r"`[^`\n]*`", "", text)))


def _problem(path: Path, link: str) -> str:
    if re.match(r"[a-z][a-z0-9+.-]*:", link, re.IGNORECASE):
        return ""
    file, _, anchor = unquote(link).partition("#")
    target = path.parent / file if file else path
    if not target.exists():
        return "leads to nothing"
    if anchor and anchor not in set(_anchors(target)):
        return "leads to a heading that is not there"
    return ""


def _anchors(path: Path) -> Iterator[str]:
    """The names of a document's headings, as hosts of repositories make them."""
    for heading in _HEADING.findall(path.read_text(encoding="utf-8")):
        yield re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
