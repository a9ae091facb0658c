"""What the cells of a twin show: executed in order without errors, and figures that everybody can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbformat import NotebookNode

from flatter_lib.publish import twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import cell_at, executed
from flatter_lib.publish.project import Project

#: Shorter descriptions do not say what is seen.
ALT_CHARACTERS, ALT_WORDS = 20, 4
_FILE_NAME = re.compile(r".+\.(png|svg|jpe?g|gif|webp|pdf)\Z", re.IGNORECASE)
#: What makes nbval pass a cell over.
_UNHELD = re.compile(r"#\s*(NBVAL|PYTEST_VALIDATE)_")
_UNHELD_TAGS = {"nbval-skip", "nbval-ignore-output", "nbval-raises-exception", "raises-exception"}
_DRAWN_IN_HTML = re.compile(r"<(img|svg)\b", re.IGNORECASE)


def in_order(project: Project) -> list[Finding]:
    """Every code cell was executed, in order from 1, and none raised an error."""
    found = []
    for chapter, twin in executed(project):
        again = f"then execute it again: flatter run {chapter.slug}"
        number = 0
        for index, cell in enumerate(twin.cells):
            if cell.cell_type != "code":
                continue
            number += 1
            where = cell_at(project, chapter, twin, index)
            if not cell.source.strip():
                found.append(Finding(where, "is empty", f"remove it from the source, {again}"))
            elif cell.execution_count is None:
                found.append(Finding(where, "was not executed", f"flatter run {chapter.slug}"))
            elif cell.execution_count != number:
                what = f"was executed as number {cell.execution_count}, not {number}"
                found.append(Finding(where, what, f"flatter run {chapter.slug}"))
            if _UNHELD.search(cell.source) or _UNHELD_TAGS & set(cell.metadata.get("tags", [])):
                cure = f"publish values with their tolerances instead, {again}"
                found.append(Finding(where, "tells nbval not to hold what it shows", cure))
            found += [
                Finding(
                    where, f"ends in an error, {o.ename}: {o.evalue}", f"mend the source, {again}"
                )
                for o in cell.outputs
                if o.output_type == "error"
            ]
    return found


def figures(project: Project) -> list[Finding]:
    """Every figure has a name of its own, a caption, real alternative text."""
    found = []
    seen: dict[str, str] = {}
    for chapter, twin in executed(project):
        for index, cell in enumerate(twin.cells):
            where = cell_at(project, chapter, twin, index)
            pictures = sum(_is_picture(output) for output in cell.get("outputs", []))
            name = twins.figure_name(cell)
            if not pictures and not name:
                continue
            found += [Finding(where, what, cure) for what, cure in _figure_problems(cell, pictures)]
            if name and name in seen:
                what = f"its figure name {name} is also that of {seen[name]}"
                found.append(Finding(where, what, "give each figure a name of its own"))
            seen.setdefault(name, where)
    return found


def _figure_problems(cell: NotebookNode, pictures: int) -> Iterator[tuple[str, str]]:
    figure, image = _settings(cell, "figure"), _settings(cell, "image")
    name, caption, alt = (
        _text(v) for v in (figure.get("name"), figure.get("caption"), image.get("alt"))
    )
    header = "write it in the cell's header in the source, `mystnb:`"
    if pictures != 1:
        what = f"shows {pictures} pictures" if pictures else f"is named {name} but shows no picture"
        yield what, "one figure a cell, ending in figures.show(...)"
    if not name:
        yield "shows a figure without a name", f"{header} `figure: name: fig-...`"
    elif not name.startswith("fig-"):
        yield (
            f"its figure name {name} does not begin with fig-",
            f"{header} `figure: name: fig-...`",
        )
    if not caption:
        yield "shows a figure without a caption", f"{header} `figure: caption:`"
    if problem := _alt_problem(alt, name, caption):
        yield f"its alternative text {problem}", f"{header} `image: alt:`, saying what is seen"


def _alt_problem(alt: str, name: str, caption: str) -> str:
    if not alt:
        return "is missing"
    if _FILE_NAME.fullmatch(alt):
        return "is a file name"
    if alt.casefold() in (name.casefold(), caption.casefold()):
        return "only repeats the figure's name or caption"
    if len(alt) < ALT_CHARACTERS or len(alt.split()) < ALT_WORDS:
        return f"is too short to say what is seen ({alt!r})"
    return ""


def _settings(cell: NotebookNode, kind: str) -> Mapping[str, Any]:
    found = cell.metadata.get("mystnb", {}).get(kind, {})
    return found if isinstance(found, Mapping) else {}


def _text(value: Any) -> str:
    return " ".join(str(value).split()) if value else ""


def _is_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return any("image/" in kind for kind in data) or bool(
        _DRAWN_IN_HTML.search(str(data.get("text/html", "")))
    )
