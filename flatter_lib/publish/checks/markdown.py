"""The book's MyST text taken apart: its roles and its prose, each with the line it stands on.

The text is parsed by the parser that Sphinx uses, so that a number in a formula, a listing or a link is not prose,
and a role in a listing is not a role. The bodies of directives are parsed in turn, where they hold text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from flatter_lib.publish.project import Project

EXTENSIONS = {
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "substitution",
    "tasklist",
}
#: Directives whose body is not prose.
VERBATIM = {
    "bibliography",
    "code",
    "code-block",
    "code-cell",
    "eval-rst",
    "image",
    "literalinclude",
    "math",
    "mermaid",
    "raw",
    "sourcecode",
    "tableofcontents",
    "toctree",
}
_DIRECTIVE = re.compile(r"\{([\w:.-]+)\}\s*(.*)", re.DOTALL)
_OPTION = re.compile(r":[\w-]+:")


@dataclass(frozen=True)
class Role:
    """A role, or a directive that stands for one: ``{name}`` with its content."""

    name: str
    content: str
    line: int


@dataclass(frozen=True)
class Prose:
    """A run of plain words: no formula, listing, role or link."""

    text: str
    line: int


def texts(project: Project) -> list[Path]:
    """The sources of the chapters, the other pages beside them, and whatever else the table of contents names."""
    named = (project.root / f"{name}.md" for name in project.toc_files())
    beside = [*project.book.glob("*.md"), *project.source.glob("*.md")]
    return sorted({*beside, *(path for path in named if path.is_file())})


def swallowed(text: str) -> Iterator[int]:
    r"""The lines on which a listing opens that holds a directive, which is then neither executed nor drawn.

    A fence of backticks cannot have backticks in its first line. There it opens nothing, and what was to close it
    opens a listing, which swallows all up to the next fence.

    Examples:
        >>> list(swallowed("```{note} by {cite}`smith`\nText.\n```\n\n```{code-cell}\n1 + 1\n```\n"))
        [3]
    """
    for token in _parser().parse(text):
        if token.type == "fence" and token.map and not token.info.startswith("{"):
            opening = f"{token.markup}{{"
            if any(line.startswith(opening) for line in token.content.splitlines()):
                yield token.map[0] + 1


def pieces(text: str, first_line: int = 1) -> Iterator[Role | Prose]:
    """The roles and the prose of a MyST text, in order.

    Args:
        text: the text, with or without front matter.
        first_line: the line that the text begins on.

    Examples:
        >>> for piece in pieces("Held by {cite}`smith2020`, $0.5$."):
        ...     print(piece)
        Prose(text='Held by ', line=1)
        Role(name='cite', content='smith2020', line=1)
        Prose(text=', ', line=1)
        Prose(text='.', line=1)
    """
    yield from _pieces(_parser(), text, first_line)


@functools.cache
def _parser() -> MarkdownIt:
    return create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)


def _pieces(parser: MarkdownIt, text: str, first_line: int) -> Iterator[Role | Prose]:
    line = first_line
    for token in parser.parse(text):
        line = first_line + token.map[0] if token.map else line
        if token.type in ("fence", "colon_fence"):
            yield from _directive(parser, token, line)
        else:
            yield from _inline(token.children or [], line)


def _inline(children: list[Token], line: int) -> Iterator[Role | Prose]:
    links = 0
    for child in children:
        links += (child.type == "link_open") - (child.type == "link_close")
        if child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "myst_role":
            yield Role(str(child.meta["name"]), child.content, line)
        elif child.type == "text" and child.content and not links:
            yield Prose(child.content, line)


def _directive(parser: MarkdownIt, token: Token, line: int) -> Iterator[Role | Prose]:
    match = _DIRECTIVE.fullmatch(token.info.strip())
    if not match:
        return
    name, argument = match.groups()
    if name.startswith("glue"):
        yield Role(name, argument.strip(), line)
        return
    options, body, offset = _split(token.content)
    caption = _caption(options)
    if caption:
        yield from _pieces(parser, caption, line)
    if name in VERBATIM:
        return
    if name not in ("figure", "list-table", "csv-table"):
        yield from _pieces(parser, argument, line)
    yield from _pieces(parser, body, line + 1 + offset)


def _split(content: str) -> tuple[dict[str, Any], str, int]:
    """A directive's options, its body, and how many lines stand before the body."""
    lines = content.split("\n")
    if lines[0].strip() == "---" and "---" in (later := [x.strip() for x in lines[1:]]):
        end = later.index("---") + 1
        header = "\n".join(lines[1:end])
        return _mapping(header), "\n".join(lines[end + 1 :]), end + 1
    end = next((i for i, line in enumerate(lines) if not _OPTION.match(line.strip())), len(lines))
    pairs = (line.strip()[1:].partition(":") for line in lines[:end])
    options = {key: value.strip() for key, _, value in pairs}
    return options, "\n".join(lines[end:]), end


def _mapping(header: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(header)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _caption(options: dict[str, Any]) -> str:
    figure = (options.get("mystnb") or {}).get("figure") or {}
    return str(figure.get("caption") or options.get("caption") or "")
