"""Drawings that a reader moves: ``{explorable} NAME`` with ``:alt:``, and the caption for content.

The page holds the still picture ``book/explorables/NAME.svg``, and a script that puts controls beside it and draws it
anew. The script is all modules that ``NAME.js`` needs, one after another in one scope: pages that are opened from files
may not load modules.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path("book/explorables")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("explorable", Explorable)


def bundle(folder: Path, name: str) -> str:
    """The script of a drawing, without imports.

    Args:
        folder: where the modules lie.
        name: of the drawing.
    """
    parts: dict[str, str] = {}

    def add(file: str) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            if needed not in parts:
                add(needed)
        parts[file] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    add("mount.js")
    add(f"{name}.js")
    begin = f'mount(document.getElementById("explorable-{name}"), "{name}", drawing);\n'
    return "".join(parts.values()) + begin


class Explorable(SphinxDirective):
    """``{explorable} NAME``: the drawing, with its still picture, controls and caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Make the figure."""
        name, folder = self.arguments[0], Path(self.env.srcdir) / FOLDER
        if not (folder / f"{name}.js").is_file() or "alt" not in self.options:
            known = ", ".join(
                sorted(
                    path.stem for path in folder.glob("*.svg") if path.with_suffix(".js").is_file()
                )
            )
            raise self.error(f"explorable: needs `:alt:` and one of these names: {known}")
        for path in folder.iterdir():
            self.env.note_dependency(str(path))
        said = html.escape(" ".join(self.options["alt"].split()), quote=True)
        still = (folder / f"{name}.svg").read_text(encoding="utf-8").strip()
        picture = still.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
        controls = '<div class="explorable-controls"></div><p class="explorable-said" aria-live="polite"></p>'
        caption = nodes.container(classes=["explorable-caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        return [
            nodes.raw(
                "",
                f'<div class="explorable" id="explorable-{name}">{picture}{controls}</div>',
                format="html",
            ),
            caption,
            nodes.raw(
                "", f'<script type="module">\n{bundle(folder, name)}</script>', format="html"
            ),
        ]
