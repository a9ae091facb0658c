"""A figure on its page: drawn for a phone where the window is one, and under it what one may take along.

That is itself (SVG, or PNG where it is a photograph) and the numbers that it shows (CSV): its values, which every
execution is compared with.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from flatter_lib.figures.output import ON_PHONE
from flatter_lib.publish import sources, twins
from flatter_lib.publish.extension.reading import pixels
from flatter_lib.publish.project import BookError, Project

CHAPTERS = "book/chapters/"
#: The windows that are phones: a narrower one has less room than a figure is wide. Paper is none.
PHONES = "screen and (max-width: 735px)"
_FIGURE = re.compile(
    r'(<figure[^>]* id="(?P<name>fig-[^"]+)"(?:(?!</figure>).)*?src="(?P<file>[^"]+\.(?P<kind>svg|png))"'
    r"(?:(?!</figure>).)*?)(?P<end></figcaption>)",
    re.DOTALL,
)
_IMAGE = re.compile(r"<img [^>]*>")


def setup(app: Sphinx) -> None:
    """Complete a page's figures when it is written, and write their numbers at the end."""
    # The drawing for a phone, which MyST-NB need not know.
    app.config.suppress_warnings.append("mystnb.unknown_mime_type")
    # After images lead to themselves.
    app.connect("html-page-context", _offer, priority=900)
    app.connect("build-finished", _write)


def columns(values: Mapping[str, Mapping[str, Any]], figure: str) -> dict[str, list[Any]]:
    """A figure's columns by name; one of intervals, or of curves, becomes several.

    Args:
        values: those of a chapter, by name.
        figure: its name.

    Examples:
        >>> one = {"numbers": [1.0, 2.0]}
        >>> two = {"numbers": [[1.0, 0.5, 2.0], [2.0, 1.5, 3.0]], "kind": "in distribution"}
        >>> columns({"fig-a: x": one, "fig-a: y": two, "fig-ab: z": one}, "fig-a")
        {'x': [1.0, 2.0], 'y': [1.0, 2.0], 'y, low': [0.5, 1.5], 'y, high': [2.0, 3.0]}
        >>> columns({"fig-a: curves": {"numbers": [[1, 2, 3], [4, 5, 6]]}}, "fig-a")
        {'curves, 1': [1, 2, 3], 'curves, 2': [4, 5, 6]}
    """
    found: dict[str, list[Any]] = {}
    for key, value in values.items():
        name, numbers = key.removeprefix(f"{figure}: "), value["numbers"]
        if name == key:
            continue
        if not any(isinstance(number, list) for number in numbers):
            found[name] = numbers
            continue
        made = [list(column) for column in zip_longest(*numbers, fillvalue="")]
        ends = [f", {place + 1}" for place in range(max(len(made), len(numbers)))]
        if value.get("kind") == "in distribution":
            ends = ["", ", low", ", high"]
        elif len(made) > len(numbers):
            made = numbers
        found |= {f"{name}{end}": column for end, column in zip(ends, made, strict=False)}
    return found


def written(found: Mapping[str, list[Any]]) -> str:
    """Columns as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(found)
    writer.writerows(zip_longest(*found.values(), fillvalue=""))
    return file.getvalue()


def _offer(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if not name.startswith(CHAPTERS) or "body" not in context:
        return
    phones = {}
    for figure, drawing in _on_phones(Project(Path(app.srcdir)), name).items():
        file = Path(app.outdir, CHAPTERS, f"{figure}.phone.svg")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(drawing, encoding="utf-8")
        phones[figure] = pixels(file)
    context["body"] = completed(context["body"], phones)


def completed(body: str, phones: Mapping[str, str]) -> str:
    """A page whose figures offer what one may take along.

    Args:
        body: the page.
        phones: the figures that are also drawn for a phone, and how large, as attributes.
    """

    def offered(found: re.Match[str]) -> str:
        figure, kind, shown = escape(found["name"]), found["kind"], found[1]
        if figure in phones:
            source = f'<source media="{PHONES}" srcset="{figure}.phone.svg"{phones[figure]} />'
            shown = _IMAGE.sub(lambda image: f"<picture>{source}{image[0]}</picture>", shown)
        links = (
            f'<a download="{figure}.{kind}" href="{found["file"]}" aria-label="{figure} as {kind}">{kind.upper()}</a>',
            f'<a download href="{figure}.csv" aria-label="the numbers of {figure} as CSV">CSV</a>',
        )
        return f'{shown}<p class="figure-data">{" ".join(links)}</p>{found["end"]}'

    return _FIGURE.sub(offered, body)


def _on_phones(project: Project, page: str) -> dict[str, str]:
    """The figures of a chapter that are drawn for a phone, by name; a twin that cannot be read, the checks say."""
    for chapter in project.chapters():
        if f"{CHAPTERS}{chapter.slug}" == page and chapter.twin.exists():
            return {
                twins.figure_name(cell): output.data[ON_PHONE]
                for cell in sources.code_cells(twins.read(chapter))
                for output in cell.outputs
                if ON_PHONE in output.get("data", {})
            }
    return {}


def _write(app: Sphinx, error: Exception | None) -> None:
    target = Path(app.outdir) / CHAPTERS
    if error is not None or not target.is_dir():
        return
    for chapter in Project(Path(app.srcdir)).chapters():
        try:
            values = twins.published_values(chapter)
        except BookError:  # the checks of the twins say it
            continue
        for figure in {key.partition(": ")[0] for key in values if key.startswith("fig-")}:
            (target / f"{figure}.csv").write_text(
                written(columns(values, figure)), encoding="utf-8"
            )
