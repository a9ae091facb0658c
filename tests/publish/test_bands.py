"""Bands against the history of their files: none changes without an entry under ``changed``, none is older than said.

The history is git's. Where there is none, or only the last commits of it, the test of the book itself is skipped and
says so.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from flatter_lib.publish import ledger, sources
from flatter_lib.publish.ledger import Claim
from flatter_lib.publish.project import Project

BOOK = Project.find(Path(__file__).parent)
#: The C loader reads the same, ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What a claim allows at a commit, by its id; where two files state it, that of each.
Bands = dict[str, dict[str, dict[str, Any]]]


class History:
    """What git has of the claims of a book."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git, self.bands, self.text = cache(self._git), cache(self._bands), cache(self._text)
        self.read = cache(self._read)
        lines = self.git(
            "rev-list", "--topo-order", "--reverse", "--parents", "HEAD", "--", "book/claims"
        )
        self.parents = {commit: rest for commit, *rest in map(str.split, lines.splitlines())}

    def _git(self, *words: str) -> str:
        done = ["git", "-C", str(self.root), *words]
        return subprocess.run(done, check=True, capture_output=True, encoding="utf-8").stdout

    def _read(self, blob: str) -> dict[str, dict[str, Any]]:
        """The bands in one state of one file."""
        try:
            items = yaml.load(self.git("cat-file", "blob", blob), LOADER)
        except yaml.YAMLError:
            return {}
        return {
            c["id"]: c["expect"] for c in items or () if isinstance(c, dict) and c.get("expect")
        }

    def _bands(self, commit: str) -> Bands:
        """Every band at a commit."""
        found: Bands = {}
        for line in self.git("ls-tree", commit, "book/claims/").splitlines():
            blob, path = line.split()[2], line.split("\t")[1]
            for name, expect in self.read(blob).items():
                found.setdefault(name, {})[Path(path).name] = expect
        return found

    def at(self, commit: str, claim: Claim) -> dict[str, Any] | None:
        """A claim's band at a commit, also by its former name; its own file goes before another one."""
        bands = self.bands(commit)
        here = bands.get(claim.id) or bands.get(claim.formerly, {})
        return here.get(claim.file) or next(iter(here.values()), None)

    def past(self, claim: Claim) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The bands that a claim no longer had after some commit, in order, and the one that it has now."""
        known: dict[str, dict[str, Any] | None] = {}
        gone: list[dict[str, Any]] = []
        last = None
        for commit, parents in self.parents.items():
            before = [b for b in map(known.get, parents) if b]
            here = self.at(commit, claim)
            # A claim that is gone for a while keeps its band.
            known[commit] = last = here or next(iter(before), None)
            if here and before and here not in before:
                gone.append(before[0])
        return gone, last

    def _text(self, commit: str, file: str) -> str:
        """A file at a commit; empty where it is not."""
        try:
            return self.git("show", f"{commit}:{file}")
        except subprocess.CalledProcessError:
            return ""

    def precedes(self, commit: str, file: str, holding: str = "") -> bool:
        """Whether a commit came before the first one in which a file held a text, if it ever did."""
        commits = self.git("log", "--topo-order", "--reverse", "--format=%H", "--", file).split()
        first = next((c for c in commits if holding in self.text(c, file)), "")
        commit = self.git("rev-parse", commit).strip()
        return not first or self.git("merge-base", commit, first).strip() == commit != first


def problems(project: Project, history: History) -> Iterator[str]:
    """Every band whose history is not the one that git has, with the cure."""
    for claim in ledger.claims(project):
        if claim.expect:
            yield from map(
                f"{claim.file}: {claim.id}: ".__add__, _problems(project, history, claim)
            )


def _problems(project: Project, history: History, claim: Claim) -> Iterator[str]:
    gone, last = history.past(claim)
    if last and last != claim.expect:
        gone = [*gone, last]
    logged = [change.was for change in claim.changed]
    if logged != gone:
        yield f"the bands that it had are {gone}, and `changed:` has {logged}: log each with a commit, and why"
        return
    for change in claim.changed:
        held = [_band(history, name, claim) for name in (change.commit, f"{change.commit}^")]
        if change.was not in held:
            yield f"commit {change.commit} did not have the band {change.was}"
    first = [*gone, claim.expect][0]
    if claim.since and _band(history, claim.since, claim) != first:
        yield f"commit {claim.since} did not have its first band, {first}"
    elif claim.since and claim.before_records:
        chapter = project.chapter_paths(Path(claim.file).stem)
        twins = [str(path.relative_to(project.root)) for path in (chapter.twin, chapter.values)]
        if not all(history.precedes(claim.since, twin, claim.id) for twin in twins):
            yield f"commit {claim.since} is not older than its row: its band was not written before"
        records = sources.read(chapter).metadata.get("flatter", {}).get("records", [])
        older = [history.precedes(claim.since, f"book/results/{name}") for name in records]
        if older and not any(older):
            yield f"commit {claim.since} is not older than its records: its band was not written before"


def _band(history: History, commit: str, claim: Claim) -> dict[str, Any] | None:
    try:
        return history.at(commit, claim)
    except subprocess.CalledProcessError:
        return None  # no such commit


def test_every_band_of_the_book_has_the_history_that_it_says() -> None:
    try:
        history = History(BOOK.root)
        shallow = history.git("rev-parse", "--is-shallow-repository").strip() == "true"
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no history of git here, against which bands could be held")
    if shallow:
        pytest.skip("git has only the last commits here, and bands are older")
    if not any(claim.since for claim in ledger.claims(BOOK)):
        pytest.skip("no claim says yet since when its band stands")
    assert list(problems(BOOK, history)) == []


Commit = Callable[..., str]


@pytest.fixture
def commit(project: Project) -> Commit:
    """Commits the claims of the toy book, with these changes, and says the commit."""

    def git(*words: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = ["git", "-C", str(project.root), *who, *words]
        return subprocess.run(done, check=True, capture_output=True, text=True).stdout.strip()

    def make(file: str = "toy.yml", **change: Any) -> str:
        write(project, file, **change)
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "A state")
        return git("rev-parse", "HEAD")[:10]

    git("init", "--quiet")
    return make


def write(project: Project, file: str = "toy.yml", **change: Any) -> None:
    for path in project.claims.glob("*.yml"):
        path.unlink()
    said = {
        "id": "toy",
        "paper": "this book",
        "place": "here",
        "statement": "One.",
        "measured": "one",
    }
    item = {k: v for k, v in (said | change).items() if v is not None}
    (project.claims / file).write_text(yaml.safe_dump([item]), encoding="utf-8")


def found(project: Project) -> list[str]:
    return list(problems(project, History(project.root)))


OLD, NEW, OTHER = {"at_most": 1.0}, {"at_most": 2.0}, {"at_most": 3.0}


def entry(commit: str, was: dict[str, Any]) -> dict[str, Any]:
    return {"commit": commit, "was": was, "because": "It was too narrow."}


def test_a_band_that_never_changed_needs_no_word(project: Project, commit: Commit) -> None:
    first = commit(expect=OLD)
    commit(expect=OLD, statement="One, again.", since=first)
    assert found(project) == []


@pytest.mark.parametrize("committed", [False, True])
def test_a_change_without_a_word(project: Project, commit: Commit, committed: bool) -> None:
    commit(expect=OLD)
    (commit if committed else lambda **change: write(project, **change))(expect=NEW)
    (problem,) = found(project)
    assert problem.startswith(
        f"toy.yml: toy: the bands that it had are [{OLD}], and `changed:` has []"
    )


@pytest.mark.parametrize("committed", [False, True])
def test_a_change_with_its_reason(project: Project, commit: Commit, committed: bool) -> None:
    first = commit(expect=OLD)
    said = {"expect": NEW, "since": first, "changed": [entry(first, OLD)]}
    (commit if committed else lambda **change: write(project, **change))(**said)
    assert found(project) == []


def test_a_change_may_name_the_commit_that_made_it(project: Project, commit: Commit) -> None:
    commit(expect=OLD)
    second = commit(expect=NEW, changed=[entry("0123abc", OLD)])
    write(project, expect=NEW, changed=[entry(second, OLD)])
    assert found(project) == []


def test_a_change_there_and_back_is_two(project: Project, commit: Commit) -> None:
    first = commit(expect=OLD)
    second = commit(expect=NEW)
    commit(expect=OLD)
    assert len(found(project)) == 1
    write(project, expect=OLD, changed=[entry(first, OLD), entry(second, NEW)])
    assert found(project) == []


def test_a_claim_that_was_away_or_in_another_file_is_the_same(
    project: Project, commit: Commit
) -> None:
    commit(expect=OLD)
    commit(untested="too long", measured=None)
    commit(file="other.yml", expect=NEW)
    (problem,) = found(project)
    assert problem.startswith(f"other.yml: toy: the bands that it had are [{OLD}]")


def test_a_claim_that_was_called_otherwise_is_the_same(project: Project, commit: Commit) -> None:
    first = commit(id="fool", expect=OLD)
    write(project, expect=NEW, since=first)
    (problem,) = found(project)
    assert problem == f"toy.yml: toy: commit {first} did not have its first band, {NEW}"
    write(project, expect=NEW, since=first, formerly="fool")
    (problem,) = found(project)
    assert problem.startswith(f"toy.yml: toy: the bands that it had are [{OLD}]")
    write(project, expect=NEW, since=first, formerly="fool", changed=[entry(first, OLD)])
    assert found(project) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"changed": [entry("0123abc", OLD)]}, "commit 0123abc did not have the band"),
        ({"changed": [entry("LAST", OLD), entry("LAST", NEW)]}, "the bands that it had are"),
        ({"changed": [entry("LAST", OTHER)]}, "the bands that it had are"),
        (
            {"changed": [entry("LAST", OLD)], "since": "0123abc"},
            "commit 0123abc did not have its first",
        ),
    ],
)
def test_a_history_that_was_made_up(
    project: Project, commit: Commit, change: dict[str, Any], said: str
) -> None:
    last = commit(expect=OLD)
    for made in change["changed"]:
        made["commit"] = made["commit"].replace("LAST", last)
    write(project, expect=NEW, **change)
    (problem,) = found(project)
    assert problem.startswith(f"toy.yml: toy: {said}")


def test_before_the_records_is_before_the_row(project: Project, commit: Commit) -> None:
    first = commit(expect=OLD)
    project.executed.mkdir(exist_ok=True)
    project.chapter("toy").values.write_text('{"claim toy": 1}')
    late = commit(expect=OLD, statement="One, again.")
    write(project, expect=OLD, since=first, before_records=True)
    assert found(project) == []
    write(project, expect=OLD, since=late, before_records=False)
    assert found(project) == []
    write(project, expect=OLD, since=late, before_records=True)
    (problem,) = found(project)
    assert problem.startswith(f"toy.yml: toy: commit {late} is not older than its row")


@pytest.mark.parametrize("late", [False, True])
def test_before_the_records_is_before_some_of_them(
    project: Project, commit: Commit, late: bool
) -> None:
    source = project.chapter("toy").source
    head = "profiles:\n    smoke: {runs: 2}"
    assert head in source.read_text()
    text = source.read_text().replace(head, f"{head}\n  records: [old.jsonl, new.jsonl]")
    source.write_text(text)
    project.results.mkdir()
    (project.results / "old.jsonl").write_text("")
    if late:
        (project.results / "new.jsonl").write_text("")
    first = commit(expect=OLD)
    (project.results / "new.jsonl").write_text("{}")
    commit(expect=OLD, statement="One, again.")
    write(project, expect=OLD, since=first, before_records=True)
    said = f"toy.yml: toy: commit {first} is not older than its records: its band was not written before"
    assert found(project) == [said] * late
