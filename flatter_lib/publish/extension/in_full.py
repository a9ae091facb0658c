"""What a reader may skip: proofs, imports, and what ``{in-full}`` folds, the rest of its section, code cells and all.

The section's heading and what stands before the directive stay open: the answer first, how it comes about on demand.
A link into a folded place opens it; on paper everything is open.
"""

from __future__ import annotations

import ast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from flatter_lib.publish.extension.reading import minutes

log = logging.getLogger(__name__)

#: Opens what a link leads into, where the browser does not, and everything on paper.
SCRIPT = """\
(() => {
  const folded = "details.in-full:not([open])";
  const follow = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (const rows of place.closest("div.cell")?.querySelectorAll("details.more-rows") ?? []) rows.open = true;
    if (!place.closest(folded)) return;
    for (let around; (around = place.closest(folded)); ) around.open = true;
    place.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  addEventListener("DOMContentLoaded", follow);
  addEventListener("beforeprint", () => document.querySelectorAll(folded).forEach((part) => { part.open = true; }));
})();
"""


def setup(app: Sphinx) -> None:
    """Register the directive, and fold when a page has been read."""
    app.add_directive("in-full", InFull)
    app.connect("doctree-read", _fold)
    app.add_js_file(None, body=SCRIPT)


class InFull(SphinxDirective):
    """``{in-full}``: from here to the end of the section is folded."""

    def run(self) -> list[nodes.Node]:
        """Mark the place."""
        mark = nodes.raw("", "", format="html", folds=True)
        self.set_source_info(mark)
        return [mark]


def _fold(app: Sphinx, doctree: nodes.document) -> None:
    for mark in list(doctree.findall(nodes.raw)):
        if not mark.get("folds"):
            continue
        section = mark.parent
        if not isinstance(section, nodes.section):
            log.warning("in-full: stands below a heading, not in another directive", location=mark)
            continue
        rest = section.children[section.index(mark) + 1 :]
        mark.append(nodes.Text(_opening(f"In full, {minutes(rest)} min")))
        for part in rest:
            part["folded"] = True
        section.append(_html("</details>"))
    for proof in list(doctree.findall(lambda node: node.tagname == "proof_node")):
        first = next(iter(proof.findall(nodes.Text)))
        first.parent.replace(first, nodes.Text(first.astext().removeprefix("Proof. ")))
        proof["folded"] = True
        proof.replace_self([_html(_opening("Proof")), proof, _html("</details>")])

    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and imports(cell.next_node(nodes.literal_block)):
            cell.setdefault("hide_mode", "input")
            cell["prompt_show"], cell["prompt_hide"] = "Show the imports", "Hide the imports"


def imports(source: nodes.literal_block | None) -> bool:
    r"""Whether code begins with an import and defines nothing that one would look for.

    Examples:
        >>> imports(nodes.literal_block(text="import numpy as np\n\nfigures.use_style()"))
        True
        >>> imports(nodes.literal_block(text="import numpy as np\n\ndef f(): ...")), imports(None)
        (False, False)
    """
    try:
        lines = ast.parse(source.astext()).body if source else []
    except SyntaxError:
        return False
    return (
        bool(lines)
        and isinstance(lines[0], ast.Import | ast.ImportFrom)
        and not any(isinstance(line, ast.FunctionDef | ast.ClassDef) for line in lines)
    )


def _opening(summary: str) -> str:
    return f'<details class="in-full"><summary>{summary}</summary>\n'


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
