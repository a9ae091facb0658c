"""Tables and links of generated pages, as docutils nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from docutils import nodes
from sphinx import addnodes


@dataclass(frozen=True)
class TableRow:
    """One row: the nodes of each cell, and the name under which others can link to the row."""

    cells: Sequence[Sequence[nodes.Node]]
    id: str = ""
    classes: Sequence[str] = field(default=())


def table(
    header: Sequence[str],
    rows: Sequence[TableRow],
    *,
    classes: Sequence[str] = (),
    widths: Sequence[int] | None = None,
) -> nodes.table:
    """A table with a header row.

    Args:
        header: the columns' names.
        rows: the rows, as many cells each as there are columns.
        classes: what the style sheet calls the table.
        widths: relative widths of the columns; the browser decides if they are left out.
    """
    group = nodes.tgroup(cols=len(header))
    for width in widths or [1] * len(header):
        group += nodes.colspec(colwidth=width)
    head = nodes.row("", *(nodes.entry("", nodes.paragraph(text=name)) for name in header))
    body = nodes.tbody("", *(_row(row) for row in rows))
    group += [nodes.thead("", head), body]
    fixed = ["colwidths-given"] if widths else ["colwidths-auto"]
    return nodes.table("", group, classes=[*fixed, *classes])


def _row(row: TableRow) -> nodes.row:
    made = nodes.row("", *(nodes.entry("", *cell) for cell in row.cells), classes=list(row.classes))
    if row.id:
        made["ids"].append(row.id)
    return made


def text(content: str, *classes: str) -> nodes.paragraph:
    """A paragraph of plain text."""
    return nodes.paragraph(text=content, classes=list(classes))


def link(docname: str, target: str, label: str) -> addnodes.pending_xref:
    """A link that Sphinx resolves, and warns about when what it leads to is not there.

    Args:
        docname: the page that holds the link.
        target: the label of a place, or ``/`` and the name of a page.
        label: the words of the link.
    """
    kind = "doc" if target.startswith("/") else "ref"
    return addnodes.pending_xref(
        "",
        nodes.inline(text=label),
        refdomain="std",
        reftype=kind,
        reftarget=target,
        refdoc=docname,
        refexplicit=True,
        refwarn=True,
    )
