"""What a cell measured of a claim is shown as its verdict, its value, and a link to its row of the ledger.

The cell gets the label ``claim-<id>``, so that the row can lead back to it. Of many rows the last ones are folded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from flatter_lib.publish import ledger, twins
from flatter_lib.publish.project import BookError, Project

#: The line that :func:`flatter_lib.claims.record` prints.
_LINE = re.compile(r"claim (?P<id>\S+): (?P<value>.+?) \((?P<where>[^()]*(?:\([^()]*\)[^()]*)*)\)")
#: So many rows below a cell stay open.
OPEN = 4
#: Scales that are profiles; others are said as they are.
PROFILES = ("smoke", "laptop", "paper")
#: Letters of formulas that code spells.
GREEK = {"eta": "η", "beta": "β", "eps": "ε", "kappa": "κ", "rho": "ρ", "sigma": "σ", "tau": "τ"}


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
    env.flatter_verdicts = {  # type: ignore[attr-defined]
        e.claim.id: (e.verdict, circumstances(e.row.where) if e.row else "") for e in entries
    }


def _show_claims(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    verdicts: dict[str, tuple[str, str]] = app.env.flatter_verdicts  # type: ignore[attr-defined]
    for output in list(doctree.findall(nodes.literal_block)):
        line = _LINE.fullmatch(output.astext().strip())
        if line and line["id"] in verdicts:
            output.replace_self(_shown(docname, line["id"], line["value"], *verdicts[line["id"]]))
    for around in {id(node.parent): node.parent for node in doctree.findall(_is_row)}.values():
        around.children = list(folded(around.children))
        for child in around.children:
            around.setup_child(child)


def _is_row(node: nodes.Node) -> bool:
    return isinstance(node, nodes.paragraph) and "claim-shown" in node["classes"]


def folded(outputs: list[nodes.Node]) -> Iterator[nodes.Node]:
    """What stands below a cell: of each run of rows those beyond the fourth folded, if they are more than one."""
    for rows, group in groupby(outputs, _is_row):
        run = list(group)
        more = run[OPEN:]
        if not rows or len(more) < 2:
            yield from run
            continue
        yield from run[:OPEN]
        verdicts = Counter(row.children[0].astext() for row in more)
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        opening = f'<details class="in-full more-rows"><summary>and {len(more)} more rows: {said}</summary>'
        yield nodes.raw("", opening, format="html")
        yield from more
        yield nodes.raw("", "</details>", format="html")


def _shown(docname: str, id: str, value: str, verdict: str, where: str) -> nodes.paragraph:
    up = "../" * (docname.count("/") - 1)
    row = nodes.reference("", id, internal=True, refuri=f"{up}claims.html#{row_id(id)}")
    said = nodes.inline(text=f" {where}; " if where else " ", classes=["where"])
    parts = badge(verdict), nodes.Text(" "), nodes.strong(text=value), said, row
    return nodes.paragraph("", "", *parts, classes=["claim-shown"])


def circumstances(where: Mapping[str, Any]) -> str:
    """On what a value was measured, the sample size and the scale first.

    Examples:
        >>> circumstances({"scale": "laptop", "runs": 4096, "eta": 0.01})
        '4096 runs, laptop scale, η = 0.01'
        >>> circumstances({"runs": 1, "step_sizes": 5, "label_noise": 0.1})
        '1 run, step sizes = 5, label noise = 0.1'
        >>> circumstances({"scale": "closed form"})
        'closed form'
    """
    sizes = [
        f"{where[name]} {name.removesuffix('s') if where[name] == 1 else name}"
        for name in ledger.SAMPLE_SIZES
        if name in where
    ]
    scale = str(where.get("scale", ""))
    scales = [f"{scale} scale" if scale in PROFILES else scale] if scale else []
    names = {k: " ".join(GREEK.get(part, part) for part in k.split("_")) for k in where}
    rest = [
        f"{names[k]} = {v}" for k, v in where.items() if k not in (*ledger.SAMPLE_SIZES, "scale")
    ]
    return ", ".join([*sizes, *scales, *rest])
