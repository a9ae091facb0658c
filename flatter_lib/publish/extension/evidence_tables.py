"""What holds the evidence: ``{records-table}`` and ``{machines-table}`` on the page *Reproduce*."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flatter_lib.evidence import digest, verify
from flatter_lib.publish.extension.markup import Cell, link, table, text
from flatter_lib.publish.project import Project


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
            for file in (path, verify.beside(path)):
                self.env.note_dependency(str(file))
            rows.append([nodes.literal(text=path.stem), *_verified(path)])
        if not rows:
            return [text("No measurement is recorded yet.")]
        header = ("Experiment", "Records", "Measured again", "Under the code of", "On", "Outcome")
        return [table(header, rows, name="evidence-table")]


def _verified(path: Path) -> list[Cell]:
    entries = verify.verifications(path)
    if not entries:
        return ["not verified yet", *"––––"]
    last = entries[-1]
    total, failures = len(last["measurements"]), len(last["failures"])
    held = sum(verdict["passed"] for verdict in last["measurements"].values())
    outcome = f"{'all' if last['passed'] else f'{held} of'} {total} measurements hold"
    outcome += f", {failures} runs fail" if failures else ""
    if last["digest"] != digest(path):
        outcome += "; the records have changed since"
    commit = nodes.literal(text=str(last["commit"])[:10])
    return [str(last["records"]), str(len(last["keys"])), commit, str(last["machine"]), outcome]


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
        titles = {chapter.slug: chapter.title for chapter in project.chapters()}
        columns = list(dict.fromkeys((run["isa"], run["threads"]) for run in made["runs"]))
        rows: list[list[Cell]] = []
        for name in dict.fromkeys(run["name"] for run in made["runs"]):
            page = f"/book/chapters/{name}"
            known = name in titles
            title = link(self.env.docname, page, titles[name]) if known else nodes.Text(name)
            rows.append([title, *(_outcome(made["runs"], name, *column) for column in columns)])
        on = (f"{isa}, {threads} thread{'s' * (threads > 1)}" for isa, threads in columns)
        machines = "; ".join(f"{isa}, {title}" for isa, title in made["machines"].items())
        said = f"On {made['processor']}, at commit {str(made['commit'])[:10]}: {machines}."
        return [table(["Executed", *on], rows, name="evidence-table"), text(said)]


def _outcome(runs: Sequence[dict[str, Any]], name: str, isa: str, threads: int) -> str:
    wanted = (name, isa, threads)
    found = [r["differs"] for r in runs if (r["name"], r["isa"], r["threads"]) == wanted]
    differing = sum(map(len, found))
    return f"{differing} values differ" if differing else "agrees" if found else "not run"
