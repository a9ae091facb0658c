"""The Sphinx extension of the book.

Named in ``_config.yml``. It brings mathematics as MathML, the buttons that need a repository, links to the cells that
measured a claim, the directives ``{ledger}``, ``{verdict-counts}``, ``{execution-table}``, ``{records-table}``,
``{machines-table}``, ``{terms-index}``, ``{explorable}`` and ``{in-full}``, previews of what links lead to, the numbers
of figures, notebooks to download, at the end of each chapter's page how it was executed, and warnings about text that
Sphinx itself would let pass.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from flatter_lib.publish.extension import (
    claim_links,
    downloads,
    evidence_tables,
    execution_record,
    explorable,
    fields,
    figure_data,
    finds,
    in_full,
    lean,
    ledger_table,
    leftovers,
    mathml,
    previews,
    prose,
    reading,
    repository,
    terms,
    typography,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with a Sphinx application."""
    for part in (
        claim_links,
        downloads,
        evidence_tables,
        execution_record,
        explorable,
        fields,
        figure_data,
        finds,
        in_full,
        lean,
        leftovers,
        ledger_table,
        mathml,
        previews,
        prose,
        reading,
        repository,
        terms,
        typography,
    ):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
