"""What holds the evidence: ``{records-table}`` and ``{machines-table}`` on the page *Reproduce*."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flatter_lib import results
from flatter_lib.publish.pages.markup import TableRow, link, table, text
from flatter_lib.publish.project import Project
from flatter_lib.results import verify


def setup(app: Sphinx) -> None:
    """Register the two tables."""
    app.add_directive("records-table", RecordsTable)
    app.add_directive("machines-table", MachinesTable)


class RecordsTable(SphinxDirective):
    """``{records-table}``: every set of records, and how it was verified the last time."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = []
        for path in sorted(Project(Path(self.env.srcdir)).results.glob("*.jsonl")):
            self.env.note_dependency(str(path))
            self.env.note_dependency(str(verify.beside(path)))
            name = nodes.paragraph("", "", nodes.literal(text=path.stem))
            rows.append(TableRow([[name], *_verified(path)]))
        if not rows:
            return [text("No measurement is recorded yet.")]
        header = ("Experiment", "Records", "Measured again", "Under the code of", "On", "Outcome")
        return [table(header, rows, classes=["evidence-table"])]


def _verified(path: Path) -> list[list[nodes.Node]]:
    entries = verify.verifications(path)
    if not entries:
        return [[text("not verified yet")], *([text("–")] for _ in range(4))]
    last = entries[-1]
    total, failures = len(last["measurements"]), len(last["failures"])
    held = sum(verdict["passed"] for verdict in last["measurements"].values())
    outcome = f"{'all' if last['passed'] else f'{held} of'} {total} measurements hold"
    outcome += f", {failures} runs fail" if failures else ""
    if last["digest"] != results.digest(path):
        outcome += "; the records have changed since"
    commit = nodes.paragraph("", "", nodes.literal(text=str(last["commit"])[:10]))
    return [
        [text(str(last["records"]))],
        [text(str(len(last["keys"])))],
        [commit],
        [text(last["machine"])],
        [text(outcome)],
    ]


class MachinesTable(SphinxDirective):
    """``{machines-table}``: every chapter on every machine that it was executed again on."""

    def run(self) -> list[nodes.Node]:
        """Make the table from ``book/machines.json``, which ``make test-machines`` writes."""
        project = Project(Path(self.env.srcdir))
        path = project.book / "machines.json"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return [text("Not executed on other machines yet.")]
        made = json.loads(path.read_text(encoding="utf-8"))
        columns = list(dict.fromkeys((run["isa"], run["threads"]) for run in made["runs"]))
        rows = []
        titles = {chapter.slug: chapter.title for chapter in project.chapters()}
        for name in dict.fromkeys(run["name"] for run in made["runs"]):
            title = (
                link(self.env.docname, f"/book/chapters/{name}", titles[name])
                if name in titles
                else nodes.Text(name)
            )
            cells = [[text(_outcome(made, name, isa, threads))] for isa, threads in columns]
            rows.append(TableRow([[nodes.paragraph("", "", title)], *cells]))
        header = [
            "Executed",
            *(f"{isa}, {threads} thread{'s' * (threads > 1)}" for isa, threads in columns),
        ]
        said = f"On {made['processor']}, at commit {str(made['commit'])[:10]}: " + "; ".join(
            f"{isa}, {title}" for isa, title in made["machines"].items()
        )
        return [table(header, rows, classes=["evidence-table"]), text(f"{said}.")]


def _outcome(made: Mapping[str, Any], name: str, isa: str, threads: int) -> str:
    runs = [
        run
        for run in made["runs"]
        if (run["name"], run["isa"], run["threads"]) == (name, isa, threads)
    ]
    differing = sum(len(run["differs"]) for run in runs)
    if not runs:
        return "not run"
    return f"{differing} values differ" if differing else "agrees"
