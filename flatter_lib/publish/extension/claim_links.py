"""The cell that measured a claim can be linked to: it gets the label ``claim-<id>``."""

from __future__ import annotations

from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

from flatter_lib.publish import twins


def setup(app: Sphinx) -> None:
    """Label the cells of each notebook when its page has been read."""
    app.connect("doctree-read", _label_cells)


def label(claim_id: str) -> str:
    """The label of the cell that measured a claim.

    Examples:
        >>> label("ff-transverse-variance")
        'claim-ff-transverse-variance'
    """
    return str(nodes.make_id(f"claim-{claim_id}"))


def _label_cells(app: Sphinx, doctree: nodes.document) -> None:
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    cells = nbformat.read(path, as_version=4).cells
    labels = app.env.get_domain("std").data["anonlabels"]
    for shown in doctree.findall(nodes.container):
        if shown.get("nb_element") == "cell_code":
            for claim in twins.claims_of(cells[shown["cell_index"]]):
                name = label(claim)
                shown["ids"].append(name)
                labels[name] = app.env.docname, name
