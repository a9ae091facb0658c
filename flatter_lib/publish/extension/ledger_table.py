"""The ledger as pages show it: ``{ledger}``, the table of claims, and ``{verdict-counts}``, their number by verdict.

Whatever keeps claims and recorded rows from being one to one becomes a warning of the page with ``{ledger}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from flatter_lib.claims import VERDICTS
from flatter_lib.publish import ledger
from flatter_lib.publish.extension import claim_links
from flatter_lib.publish.extension.markup import Cell, link, table, text
from flatter_lib.publish.project import BookError, Project

logger = logging.getLogger(__name__)
#: What a claim names as its paper when it is a hypothesis of the book.
OURS = "this book"
#: Scales that are profiles; others are said as they are.
PROFILES = ("smoke", "laptop", "paper")


def setup(app: Sphinx) -> None:
    """Register both directives."""
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("verdict-counts", VerdictCounts)


class _FromLedger(SphinxDirective):
    """What both directives share: the project, and the files on which the page depends."""

    @property
    def project(self) -> Project:
        return Project(Path(self.env.srcdir))

    def entries(self) -> list[ledger.Entry]:
        """The ledger; the page is read again when a file behind it changes."""
        chapters = self.project.chapters()
        behind = chain(
            self.project.claims.glob("*.yml"),
            (chapter.twin for chapter in chapters),
            # Files that are not there count as changed, so that claims added later are seen.
            (self.project.claims / f"{chapter.slug}.yml" for chapter in chapters),
        )
        for path in behind:
            self.env.note_dependency(str(path))
        return ledger.entries(self.project)


class VerdictCounts(_FromLedger):
    """``{verdict-counts}``: how many claims have which verdict."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        try:
            return [counts(self.entries())]
        except BookError as error:
            raise self.error(str(error)) from error


class LedgerDirective(_FromLedger):
    """``{ledger}``: the claims by paper, each with what was measured and its verdict."""

    def run(self) -> list[nodes.Node]:
        """Make the counts and one section a paper; whatever is wrong with the ledger becomes a warning."""
        try:
            entries = self.entries()
        except BookError as error:
            raise self.error(str(error)) from error
        for problem in ledger.problems(self.project):
            logger.warning(problem, location=self.get_location())
        by_paper: dict[str, list[ledger.Entry]] = {}
        for entry in entries:
            by_paper.setdefault(entry.claim.paper, []).append(entry)
        # Papers in the order in which the ledger first names them, the book's own hypotheses last.
        order = sorted(by_paper, key=lambda paper: paper == OURS)
        return [counts(entries), *(self._section(paper, by_paper[paper]) for paper in order)]

    def _section(self, paper: str, entries: list[ledger.Entry]) -> nodes.section:
        title, source = self._title(paper)
        section = nodes.section(
            "", nodes.title(text=title), names=[nodes.fully_normalize_name(title)]
        )
        self.state.document.note_implicit_target(section, section)
        section += source
        rows, ids = map(self._cells, entries), [f"ledger-{entry.claim.id}" for entry in entries]
        header = ("Claim", "Measured", "Verdict")
        section += table(header, list(rows), name="ledger", widths=[42, 38, 20], ids=ids)
        return section

    def _title(self, paper: str) -> tuple[str, list[nodes.Node]]:
        if paper == OURS:
            return "Hypotheses of this book", []
        self.env.note_dependency(str(self.project.book / "references.bib"))
        entry = self.env.get_domain("cite").bibdata.data.entries.get(paper)  # type: ignore[attr-defined]
        citation = self._paragraph(f"{{cite:t}}`{paper}`")
        return (re.sub("[{}]", "", entry.fields["title"]) if entry else paper), [citation]

    def _cells(self, entry: ledger.Entry) -> list[Cell]:
        statement = self._paragraph(entry.claim.statement)
        return [
            [statement, text(entry.claim.place, "place")],
            self._measured(entry),
            badge(entry.verdict),
        ]

    def _measured(self, entry: ledger.Entry) -> Cell:
        claim, row = entry.claim, entry.row
        if row is None:
            return [self._paragraph(claim.untested)] if claim.untested else []
        title = self.project.chapter_paths(row.chapter).title
        cell = link(self.env.docname, claim_links.label(claim.id), f"measured in “{title}”")
        where = nodes.Text(f"{circumstances(row.where)}; ")
        caveat = nodes.strong(text="Caveat. ")
        return [
            self._paragraph(claim.measured),
            nodes.paragraph("", "", nodes.strong(text=measured(row)), classes=["value"]),
            text(f"The claim allows {allowed(claim.expect or {})}.", "allowed"),
            nodes.paragraph("", "", where, cell, classes=["where"]),
            *([self._paragraph(claim.caveat, caveat)] if claim.caveat else []),
        ]

    def _paragraph(self, markdown: str, *before: nodes.Node) -> nodes.paragraph:
        made, messages = self.parse_inline(" ".join(markdown.split()))
        return nodes.paragraph("", "", *before, *made, *messages)


def counts(entries: list[ledger.Entry]) -> nodes.Element:
    """How many claims have which verdict, as a list of badges; verdicts that no claim has are left out."""
    found = Counter(entry.verdict for entry in entries)
    if not found:
        return text("No claim is in the ledger yet.")
    items = [
        nodes.list_item("", nodes.paragraph("", "", nodes.strong(text=f"{found[v]} "), badge(v)))
        for v in VERDICTS
        if found[v]
    ]
    return nodes.bullet_list("", *items, classes=["verdict-counts"])


def badge(verdict: str) -> nodes.inline:
    """A verdict in words; the colour only helps to find it."""
    return nodes.inline(text=verdict, classes=["verdict", f"verdict-{nodes.make_id(verdict)}"])


def measured(row: ledger.Row) -> str:
    """A measured value with its interval, to the digits that hold.

    Examples:
        >>> measured(ledger.Row("a", "b", 0.6671, 0.6512, 0.6831, {}, "0.667 [0.651, 0.683]"))
        '0.667, 95 % interval 0.651 to 0.683'
        >>> measured(ledger.Row("a", "b", 1.0, None, None, {}, "1"))
        '1, exact'
    """
    if row.low is None:
        return f"{row.written}, exact"
    return re.sub(r" \[(.+), (.+)\]", r", 95 % interval \1 to \2", row.written)


def allowed(expect: Mapping[str, Any]) -> str:
    """The values that a claim allows, in words.

    Examples:
        >>> allowed({"equals": 1.0, "tolerance": 0.02})
        '1 ± 0.02'
        >>> allowed({"at_most": 0.5}), allowed({"at_least": 2}), allowed({"between": [0, 1]})
        ('at most 0.5', 'at least 2', 'between 0 and 1')
    """
    match dict(expect):
        case {"equals": x, "tolerance": t}:
            return f"{float(x):.6g} ± {float(t):.6g}"
        case {"at_most": x}:
            return f"at most {float(x):.6g}"
        case {"at_least": x}:
            return f"at least {float(x):.6g}"
        case {"between": [a, b]}:
            return f"between {float(a):.6g} and {float(b):.6g}"
    raise ValueError(f"expect: {dict(expect)} is not a band")


def circumstances(where: Mapping[str, Any]) -> str:
    """On what a value was measured, the sample size and the scale first.

    Examples:
        >>> circumstances({"scale": "laptop", "runs": 4096, "eta": 0.01})
        '4096 runs, laptop scale, eta = 0.01'
        >>> circumstances({"scale": "closed form"})
        'closed form'
    """
    sizes = [f"{where[name]} {name}" for name in ledger.SAMPLE_SIZES if name in where]
    scale = str(where.get("scale", ""))
    scales = [f"{scale} scale" if scale in PROFILES else scale] if scale else []
    rest = [f"{k} = {v}" for k, v in where.items() if k not in (*ledger.SAMPLE_SIZES, "scale")]
    return ", ".join([*sizes, *scales, *rest])
