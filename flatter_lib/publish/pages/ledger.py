"""The ledger as pages show it: ``{ledger}``, the table of claims, and ``{verdict-counts}``, their number by verdict."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

from docutils import nodes
from pybtex.database import Entry as BibliographyEntry
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from flatter_lib.claims import VERDICTS
from flatter_lib.publish import ledger
from flatter_lib.publish.pages import anchors, numbers
from flatter_lib.publish.pages.markup import TableRow, link, table, text
from flatter_lib.publish.project import BookError, Project

logger = logging.getLogger(__name__)
OURS = "this book"


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
        sections = [self._section(paper, by_paper[paper]) for paper in self._order(by_paper)]
        return [counts(entries), *sections]

    def _order(self, papers: dict[str, list[ledger.Entry]]) -> list[str]:
        """Papers in the order in which the ledger first names them, the book's own hypotheses last."""
        return sorted(papers, key=lambda paper: paper == OURS)

    def _section(self, paper: str, entries: list[ledger.Entry]) -> nodes.section:
        title, source = self._title(paper)
        section = nodes.section(
            "", nodes.title(text=title), names=[nodes.fully_normalize_name(title)]
        )
        self.state.document.note_implicit_target(section, section)
        section += source
        rows = [TableRow(self._cells(e), id=f"ledger-{e.claim.id}") for e in entries]
        header = ("Claim", "Measured", "Verdict")
        section += table(header, rows, classes=["ledger"], widths=[42, 38, 20])
        return section

    def _title(self, paper: str) -> tuple[str, list[nodes.Node]]:
        if paper == OURS:
            return "Hypotheses of this book", []
        bibliography = self.project.book / "references.bib"
        self.env.note_dependency(str(bibliography))
        entry = parse_file(str(bibliography)).entries.get(paper)
        citation = nodes.paragraph("", "", *self._inline(f"{{cite:t}}`{paper}`"))
        return (_plain_title(entry) if entry else paper), [citation]

    def _cells(self, entry: ledger.Entry) -> list[list[nodes.Node]]:
        claim = entry.claim
        said = [nodes.paragraph("", "", *self._inline(claim.statement)), text(claim.place, "place")]
        return [said, self._measured(entry), [nodes.paragraph("", "", badge(entry.verdict))]]

    def _measured(self, entry: ledger.Entry) -> list[nodes.Node]:
        claim, row = entry.claim, entry.row
        if row is None:
            return (
                [nodes.paragraph("", "", *self._inline(claim.untested))] if claim.untested else []
            )
        value = numbers.measured(row)
        where = numbers.circumstances(row.where)
        chapter = self.project.chapter_paths(row.chapter)
        cell = link(self.env.docname, anchors.label(claim.id), f"measured in “{chapter.title}”")
        shown: list[nodes.Node] = [
            nodes.paragraph("", "", *self._inline(claim.measured)),
            nodes.paragraph("", "", nodes.strong(text=value), classes=["value"]),
            text(f"The claim allows {numbers.allowed(claim.expect or {})}.", "allowed"),
            nodes.paragraph("", "", nodes.Text(f"{where}; "), cell, classes=["where"]),
        ]
        if claim.caveat:
            shown.append(
                nodes.paragraph("", "", nodes.strong(text="Caveat. "), *self._inline(claim.caveat))
            )
        return shown

    def _inline(self, markdown: str) -> list[nodes.Node]:
        made, messages = self.parse_inline(" ".join(markdown.split()))
        return [*made, *messages]


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


def _plain_title(entry: BibliographyEntry) -> str:
    return str(entry.fields["title"]).replace("{", "").replace("}", "")
