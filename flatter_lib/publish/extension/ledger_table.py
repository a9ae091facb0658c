"""The ledger as pages show it: ``{ledger}``, the table of claims, and ``{verdict-counts}``, their number by verdict.

Whatever keeps claims and recorded rows from being one to one becomes a warning of the page with ``{ledger}``. There
the claims of a paper stand in the paper's order, the central ones first; ``{coverage}`` goes through the papers' parts.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from flatter_lib.claims import VERDICTS
from flatter_lib.publish import coverage, ledger
from flatter_lib.publish.extension import claim_links
from flatter_lib.publish.extension.claim_links import badge, circumstances, row_id
from flatter_lib.publish.extension.markup import Cell, link, table, text
from flatter_lib.publish.project import BookError, Project

logger = logging.getLogger(__name__)
#: What a claim names as its paper when it is a hypothesis of the book.
OURS = "this book"
#: What it names instead of a paper for claims of later papers of which the book knows the abstracts.
LATER = "later work"
TITLES = {OURS: "Hypotheses of this book", LATER: "Later claims on the same questions"}
CHECKS = "Checks, and what could hardly have come out otherwise"


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("verdict-counts", VerdictCounts)
    app.add_directive("coverage", CoverageDirective)
    app.add_directive("ledger-rows", LedgerRows)
    app.connect("build-finished", _write_data)


def _write_data(app: Sphinx, error: Exception | None) -> None:
    """The ledger beside the pages, as JSON and CSV."""
    if error or app.builder.format != "html":
        return
    try:
        rows = [ledger.as_data(entry) for entry in ledger.entries(Project(Path(app.srcdir)))]
    except BookError:  # it is said where a page shows the ledger
        return
    for name, text_ in (("ledger.json", json.dumps(rows, indent=1)), ("ledger.csv", _csv(rows))):
        (Path(app.outdir) / "_static" / name).write_text(text_, encoding="utf-8")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column for each field; what is no text or number is JSON in it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()})
    return file.getvalue()


class _FromLedger(SphinxDirective):
    """What the directives share: the project, the files on which the page depends, titles, paragraphs of Markdown."""

    def run(self) -> list[nodes.Node]:
        """Make what the page shows; a ledger or a list of parts that cannot be read is the page's error."""
        try:
            return self.made()
        except BookError as error:
            raise self.error(str(error)) from error

    def made(self) -> list[nodes.Node]:
        """What the page shows."""
        raise NotImplementedError

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
            (self.project.book / "coverage.yml",),
        )
        for path in behind:
            self.env.note_dependency(str(path))
        return ledger.entries(self.project)

    def papers(self, entries: list[ledger.Entry]) -> list[coverage.Paper]:
        """The papers' parts with their claims."""
        return coverage.papers(self.project, [entry.claim for entry in entries])

    def section(self, title: str, *content: nodes.Node) -> nodes.section:
        """A section of the page, to which others can link."""
        name = nodes.fully_normalize_name(title)
        section = nodes.section("", nodes.title(text=title), *content, names=[name])
        self.state.document.note_implicit_target(section, section)
        return section

    def title(self, paper: str) -> str:
        """A paper's title, or what stands in its place."""
        self.env.note_dependency(str(self.project.book / "references.bib"))
        entry = self.env.get_domain("cite").bibdata.data.entries.get(paper)  # type: ignore[attr-defined]
        return TITLES.get(paper) or (re.sub("[{}]", "", entry.fields["title"]) if entry else paper)

    def paragraph(self, markdown: str, *before: nodes.Node) -> nodes.paragraph:
        """A paragraph of Markdown, after some nodes."""
        made, messages = self.parse_inline(" ".join(markdown.split()))
        return nodes.paragraph("", "", *before, *made, *messages)


class VerdictCounts(_FromLedger):
    """``{verdict-counts}``: how many claims have which verdict."""

    def made(self) -> list[nodes.Node]:
        """The list."""
        return [counts(self.entries())]


class LedgerDirective(_FromLedger):
    """``{ledger}``: the claims by paper, each with what was measured and its verdict."""

    def made(self) -> list[nodes.Node]:
        """The counts and one section a paper; whatever is wrong with the ledger becomes a warning."""
        entries = self.entries()
        papers = self.papers(entries)
        for problem in ledger.problems(self.project):
            logger.warning(problem, location=self.get_location())
        # Papers in the order of their parts' list, then as the ledger first names them, the book's own claims last.
        by_paper: dict[str, list[ledger.Entry]] = {paper.key: [] for paper in papers}
        for entry in entries:
            if not entry.claim.check:
                by_paper.setdefault(entry.claim.paper, []).append(entry)
        order = {name: place for paper in papers for name, place in paper.order().items()}
        sections = [
            self._section(
                paper, sorted(by_paper[paper], key=lambda e: order.get(e.claim.id, len(order)))
            )
            for paper in sorted(by_paper, key=lambda paper: (paper == OURS, paper == LATER))
            if by_paper[paper]
        ]
        checks = [entry for entry in entries if entry.claim.check]
        sections += [self.section(CHECKS, self._table(checks))] if checks else []
        return [counts(entries), *uncounted(entries), *self._filter(), *sections]

    def _filter(self) -> list[nodes.Node]:
        """A place for the filters, the script that fills it, and the ledger for other programs."""
        script = self.project.book / "explorables/ledger.js"
        self.env.note_dependency(str(script))
        up = "../" * self.env.docname.count("/")
        links = (
            f'<a download href="{up}_static/ledger.{kind}">{kind.upper()}</a>'
            for kind in ("json", "csv")
        )
        place = f'<div id="ledger-filter"></div><p class="ledger-data">The whole ledger as {" or ".join(links)}.</p>'
        code = script.read_text(encoding="utf-8") if script.is_file() else ""
        run = f'<script>document.addEventListener("DOMContentLoaded", () => {code})</script>'
        return [nodes.raw("", place + run, format="html")]

    def _section(self, paper: str, entries: list[ledger.Entry]) -> nodes.section:
        cited = [] if paper in TITLES else [self.paragraph(f"{{cite:t}}`{paper}`")]
        return self.section(self.title(paper), *cited, self._table(entries))

    def _table(self, entries: list[ledger.Entry]) -> nodes.table:
        rows = map(self._cells, entries)
        # A renamed row keeps its former anchor.
        ids = [
            [row_id(name) for name in (entry.claim.id, entry.claim.formerly) if name]
            for entry in entries
        ]
        header = ("Claim", "Measured", "Verdict")
        return table(header, list(rows), name="ledger", widths=[42, 38, 20], ids=ids)

    def _cells(self, entry: ledger.Entry) -> list[Cell]:
        claim = entry.claim
        name = nodes.paragraph("", "", row_link(claim.id), classes=["claim-id"])
        verdict = text(entry.verdict, *badge(entry.verdict)["classes"])
        said = [self.paragraph(claim.statement), text(claim.place, "place"), name]
        return [said, self._measured(entry), [verdict]]

    def _measured(self, entry: ledger.Entry) -> Cell:
        claim, row = entry.claim, entry.row
        if row is None:
            return [self.paragraph(claim.untested)] if claim.untested else []
        title = self.project.chapter_paths(row.chapter).title
        cell = link(self.env.docname, claim_links.label(claim.id), f"measured in “{title}”")
        band = f"The claim allows {allowed(claim.expect or {})}."
        where = nodes.Text(f"{band} Measured on {circumstances(row.where)}; ")
        notes = (("Our reading. ", claim.reading), ("Caveat. ", claim.caveat))
        same = nodes.Text("The same measurement or statement as "), row_link(claim.repeats)
        return [
            self.paragraph(claim.measured),
            nodes.paragraph("", "", nodes.strong(text=measured(row)), classes=["value"]),
            nodes.paragraph("", "", where, cell, classes=["where"]),
            *(
                self.paragraph(capital(said), nodes.strong(text=name))
                for name, said in notes
                if said
            ),
            *([nodes.paragraph("", "", *same, classes=["repeats"])] if claim.repeats else []),
            *history(claim),
        ]


class LedgerRows(_FromLedger):
    """``{ledger-rows}``: some rows, by the claims' names, each with its number and verdict."""

    has_content = True

    def made(self) -> list[nodes.Node]:
        """The table."""
        by_name = {entry.claim.id: entry for entry in self.entries()}
        names = " ".join(self.content).split()
        if unknown := [name for name in names if name not in by_name]:
            raise self.error(f"ledger-rows: the ledger has no {', '.join(unknown)}")
        rows: list[list[Cell]] = []
        for entry in (by_name[name] for name in names):
            leads = f"{nodes.make_id('claims')}.html#{row_id(entry.claim.id)}"
            name = nodes.reference("", "its row", internal=True, refuri=leads)
            value = measured(entry.row) if entry.row else "not measured here"
            said: Cell = [self.paragraph(entry.claim.statement)]
            found: Cell = [self.paragraph(entry.claim.measured), nodes.strong(text=value), name]
            rows.append([said, found, badge(entry.verdict)])
        return [table(("Claim", "Measured", "Verdict"), rows, name="ledger", widths=[42, 38, 20])]


class CoverageDirective(_FromLedger):
    """``{coverage}``: the papers part by part, each with the rows that are about it."""

    def made(self) -> list[nodes.Node]:
        """One section a paper; a part that no row is about becomes a warning."""
        entries = self.entries()
        papers = self.papers(entries)
        for problem in coverage.problems(papers):
            logger.warning(problem, location=self.get_location())
        verdict_of = {entry.claim.id: entry.verdict for entry in entries}
        return [self._section(paper, verdict_of) for paper in papers]

    def _section(self, paper: coverage.Paper, verdict_of: Mapping[str, str]) -> nodes.section:
        rows = [
            [
                [nodes.strong(text=part.name), self.paragraph(part.about)],
                nodes.paragraph("", "", *_listed(part, verdict_of)),
            ]
            for part in paper.parts
        ]
        parts = table(("Part", "Rows of the ledger"), rows, name="coverage", widths=[45, 55])
        title = f"Part by part: {self.title(paper.key)}"
        return self.section(title, self.paragraph(paper.known), parts)


def _listed(part: coverage.Part, verdict_of: Mapping[str, str]) -> Iterator[nodes.Node]:
    """The rows about a part, by verdict."""
    separator = ""
    for verdict in VERDICTS:
        names = [claim.id for claim in part.claims if verdict_of[claim.id] == verdict]
        for place, name in enumerate(names):
            yield nodes.Text(separator if place == 0 else ", ")
            if place == 0:
                yield from (nodes.emphasis(text=verdict), nodes.Text(": "))
            yield row_link(name)
            separator = "; "


def row_link(claim_id: str) -> nodes.reference:
    """A claim's name, which leads to its row on the same page."""
    return nodes.reference("", claim_id, internal=True, refuri=f"#{row_id(claim_id)}")


def history(claim: ledger.Claim) -> list[nodes.Node]:
    """When a claim's band was written, before the records it judges or not, and what became of it; folded."""
    if not claim.since and not claim.changed:
        return []
    when = {
        True: "first written before its records",
        False: "not written before its records",
        None: "",
    }
    times = ["", "changed once", f"changed {len(claim.changed)} times"][min(len(claim.changed), 2)]
    summary = ", ".join(filter(None, (when[claim.before_records], times)))
    summary = f"The band: {summary}" if summary else "The band"
    called = f", for a claim called {claim.formerly}" if claim.formerly else ""
    first = [text(f"First in commit {claim.since}{called}.")] if claim.since else []
    changes = [
        text(f"It was {allowed(change.was)} (as in commit {change.commit}). {change.because}")
        for change in claim.changed
    ]
    fold = f"<details><summary>{html.escape(summary)}</summary>"
    folded = nodes.raw("", fold, format="html"), nodes.raw("", "</details>", format="html")
    return [nodes.container("", folded[0], *first, *changes, folded[1], classes=["band"])]


def uncounted(entries: list[ledger.Entry]) -> list[nodes.Node]:
    """How many rows are not counted, and why; nothing if all are."""
    checks = sum(entry.claim.check for entry in entries)
    same = sum(not entry.counted for entry in entries) - checks
    if not checks + same:
        return []
    said = f"Not counted: {checks} checks, which come last, and {same} rows that "
    return [
        text(
            said + "come to the verdict of another row with the same number or statement.",
            "uncounted",
        )
    ]


def counts(entries: list[ledger.Entry]) -> nodes.Element:
    """How many counted claims have which verdict, as a list of badges; verdicts that no claim has are left out."""
    found = Counter(entry.verdict for entry in entries if entry.counted)
    if not found:
        return text("No claim is in the ledger yet.")
    items = [
        nodes.list_item("", nodes.paragraph("", "", nodes.strong(text=f"{found[v]} "), badge(v)))
        for v in VERDICTS
        if found[v]
    ]
    return nodes.bullet_list("", *items, classes=["verdict-counts"])


def capital(said: str) -> str:
    """A note as a sentence that stands alone; a formula, code or a Greek letter at its beginning stays.

    Examples:
        >>> capital("at two sizes only"), capital("$x$ is fixed"), capital("η is fixed")
        ('At two sizes only', '$x$ is fixed', 'η is fixed')
    """
    return said[:1].upper() + said[1:] if said[:1].isascii() else said


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
