"""What a cell measured of a claim is shown as its verdict, its value, and a link to its row of the ledger.

The cell gets the label ``claim-<id>``, so that the row can lead back to it.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from flatter_lib.publish import ledger, twins
from flatter_lib.publish.project import BookError, Project

#: The line that :func:`flatter_lib.claims.record` prints.
_LINE = re.compile(r"claim (?P<id>\S+): (?P<value>.+?) \((?P<where>[^()]*(?:\([^()]*\)[^()]*)*)\)")


def setup(app: Sphinx) -> None:
    """Label the cells of each notebook when its page has been read; show what they measured when it is written."""
    app.connect("doctree-read", _label_cells)
    app.connect("env-updated", _look_up)
    app.connect("doctree-resolved", _show_claims)


def label(claim_id: str) -> str:
    """The label of the cell that measured a claim.

    Examples:
        >>> label("ff-transverse-variance")
        'claim-ff-transverse-variance'
    """
    return str(nodes.make_id(f"claim-{claim_id}"))


def row_id(claim_id: str) -> str:
    """The name of a claim's row in the address of the page of claims.

    Examples:
        >>> row_id("ff-two-thirds")
        'ledger-ff-two-thirds'
    """
    return f"ledger-{claim_id}"


def badge(verdict: str) -> nodes.inline:
    """A verdict in words; the colour only helps to find it."""
    return nodes.inline(text=verdict, classes=["verdict", f"verdict-{nodes.make_id(verdict)}"])


def _label_cells(app: Sphinx, doctree: nodes.document) -> None:
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    cells = nbformat.read(path, as_version=4).cells
    labels = app.env.get_domain("std").data["anonlabels"]
    app.env.note_dependency(str(Project(Path(app.srcdir)).claims / f"{path.stem}.yml"))
    for shown in doctree.findall(nodes.container):
        if shown.get("nb_element") == "cell_code":
            for claim in twins.claims_of(cells[shown["cell_index"]]):
                name = label(claim)
                shown["ids"].append(name)
                labels[name] = app.env.docname, name


def _look_up(app: Sphinx, env: BuildEnvironment) -> None:
    """The verdicts, once for all pages; a ledger that cannot be read is said where a page shows it."""
    try:
        entries = ledger.entries(Project(Path(app.srcdir)))
    except BookError:
        entries = []
    env.flatter_verdicts = {e.claim.id: e.verdict for e in entries}  # type: ignore[attr-defined]


def _show_claims(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    verdicts: dict[str, str] = app.env.flatter_verdicts  # type: ignore[attr-defined]
    for output in list(doctree.findall(nodes.literal_block)):
        line = _LINE.fullmatch(output.astext().strip())
        if line and line["id"] in verdicts:
            output.replace_self(_shown(docname, verdicts[line["id"]], **line.groupdict()))


def _shown(docname: str, verdict: str, id: str, value: str, where: str) -> nodes.paragraph:
    up = "../" * (docname.count("/") - 1)
    row = nodes.reference("", id, internal=True, refuri=f"{up}claims.html#{row_id(id)}")
    said = nodes.inline(text=f" {where}; ", classes=["where"])
    parts = badge(verdict), nodes.Text(" "), nodes.strong(text=value), said, row
    return nodes.paragraph("", "", *parts, classes=["claim-shown"])
