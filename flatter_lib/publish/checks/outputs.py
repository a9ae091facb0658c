"""What the cells of a twin show: no errors, figures that everybody can read, glued values that a text shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from flatter_lib.publish import twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import Twin, executed, of_each
from flatter_lib.publish.project import Project

#: Shorter descriptions do not say what is seen.
ALT_CHARACTERS, ALT_WORDS = 20, 4
#: What makes nbval pass a cell over.
_UNHELD = re.compile(r"#\s*(NBVAL|PYTEST_VALIDATE)_")
_UNHELD_TAGS = {"nbval-skip", "nbval-ignore-output", "nbval-raises-exception", "raises-exception"}
_DRAWN_IN_HTML = re.compile(r"<(img|svg)\b", re.IGNORECASE)
#: The name that a role or directive shows: ``{glue:text}`name` ``, ``{glue} chapters/x.ipynb::name``.
_GLUE = re.compile(r"\{glue(?::\w+)?\}[`\s]\s*(?:[^`\s]*::)?([^`:\s]+)")


@of_each
def done(twin: Twin) -> Iterator[Finding]:
    """Every code cell was executed, none raised an error, and none asks not to be held."""
    again = f"then execute it again: {twin.again}"
    for cell, where in twin.cells():
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            yield Finding(where, "is empty", f"remove it from the source, {again}")
        elif cell.execution_count is None:
            yield Finding(where, "was not executed", twin.again)
        if _UNHELD.search(cell.source) or _UNHELD_TAGS & set(cell.metadata.get("tags", [])):
            cure = f"publish values with their tolerances instead, {again}"
            yield Finding(where, "tells nbval not to hold what it shows", cure)
        for output in (output for output in cell.outputs if output.output_type == "error"):
            what = f"ends in an error, {output.ename}: {output.evalue}"
            yield Finding(where, what, f"mend the source, {again}")


def figures(project: Project) -> list[Finding]:
    """Every figure has a name of its own, a caption and a description, and there is one a cell."""
    found = []
    names: Counter[str] = Counter()
    for cell, where in (pair for twin in executed(project) for pair in twin.cells()):
        pictures = sum(_is_picture(output) for output in cell.get("outputs", []))
        name = twins.figure_name(cell)
        if pictures or name:
            found += [Finding(where, *problem) for problem in _problems(cell, pictures)]
            names[name] += bool(name)
            if names[name] > 1:
                what = f"its figure name {name} is also that of another"
                found.append(Finding(where, what, "give each figure a name of its own"))
    return found


@of_each
def glued(twin: Twin) -> Iterator[Finding]:
    """Every glued value is shown by a text; that what a text shows is glued, Sphinx says."""
    folders = (
        (twin.project.book, "*.md"),
        (twin.project.source, "*.md"),
        (twin.project.claims, "*.yml"),
    )
    texts = [
        path.read_text(encoding="utf-8") for folder, kind in folders for path in folder.glob(kind)
    ]
    shown = {name for text in texts for name in _GLUE.findall(text)}
    for output, where in twin.outputs():
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if name and name not in shown:
            cure = "show it with {glue:text}, or do not glue it"
            yield Finding(where, f"glues {name}, which no text shows", cure)


def _problems(cell: NotebookNode, pictures: int) -> Iterator[tuple[str, str]]:
    """What is wrong with a figure, each with its cure; a missing description is found on the built page."""
    settings = cell.metadata.get("mystnb", {})
    name = twins.figure_name(cell)
    caption = _text(settings.get("figure", {}).get("caption"))
    alt = _text(settings.get("image", {}).get("alt"))
    header = "write it in the cell's header in the source, `mystnb:`"
    if pictures != 1:
        yield f"shows {pictures} pictures", "one figure a cell, ending in figures.show(...)"
    if not name.startswith("fig-"):
        what = f"shows a figure called {name or 'nothing'}, not fig-..."
        yield what, f"{header} `figure: name: fig-...`"
    if not caption:
        yield "shows a figure without a caption", f"{header} `figure: caption:`"
    short = len(alt) < ALT_CHARACTERS or len(alt.split()) < ALT_WORDS
    if short or alt.casefold() in (name.casefold(), caption.casefold()):
        what = f"its alternative text does not say what is seen ({alt!r})"
        yield what, f"{header} `image: alt:`"


def _text(value: Any) -> str:
    return " ".join(str(value or "").split())


def _is_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return any("image/" in kind for kind in data) or bool(
        _DRAWN_IN_HTML.search(str(data.get("text/html", "")))
    )
