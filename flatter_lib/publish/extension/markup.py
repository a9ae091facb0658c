"""Tables and links of generated pages, as docutils nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from docutils import nodes
from sphinx import addnodes

#: What a cell of a table holds: words, a node, or paragraphs of either.
Cell: TypeAlias = str | nodes.Node | Sequence[str | nodes.Node]


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    name: str,
    widths: Sequence[int] | None = None,
    ids: Sequence[Sequence[str]] = (),
) -> nodes.table:
    """A table with a header row.

    Args:
        header: the columns' names.
        rows: the rows, as many cells each as there are columns.
        name: what the style sheet calls the table.
        widths: relative widths of the columns; the browser decides if they are left out.
        ids: the names under which others can link to the rows.
    """
    columns = (nodes.colspec(colwidth=width) for width in widths or [1] * len(header))
    body = nodes.tbody("", *map(_row, rows))
    for row, names in zip(body.children if ids else (), ids, strict=True):
        row["ids"].extend(names)
    group = nodes.tgroup("", *columns, nodes.thead("", _row(header)), body, cols=len(header))
    return nodes.table("", group, classes=[f"colwidths-{'given' if widths else 'auto'}", name])


def _row(cells: Sequence[Cell]) -> nodes.row:
    parts = (cell if isinstance(cell, list) else [cell] for cell in cells)
    return nodes.row("", *(nodes.entry("", *map(_paragraph, cell)) for cell in parts))


def _paragraph(part: str | nodes.Node) -> nodes.Node:
    if isinstance(part, str):
        return nodes.paragraph(text=part)
    return nodes.paragraph("", "", part) if isinstance(part, nodes.Inline | nodes.Text) else part


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
