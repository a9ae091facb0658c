"""The command line: each command in a published book, and one clear line and status 2 for every wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
from rich.console import Console

from flatter_lib.publish import (
    build,
    check,
    cli,
    commands,
    datasets,
    doctor,
    execute,
    freshness,
    hygiene,
    sources,
)
from flatter_lib.publish.build import Built
from flatter_lib.publish.commands import Command
from flatter_lib.publish.doctor import Diagnosis
from flatter_lib.publish.execute import Execution
from flatter_lib.publish.project import Chapter, FailedError, Project

COMMANDS = ["chapters", "run", "diff", "book", "format", "check", "data", "claims", "doctor"]
COMMANDS += ["sweep", "results", "verify", "links", "pdf"]

Edit = Callable[[Path, str, str], None]


class Done(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


Flatter = Callable[..., Done]


@pytest.fixture
def flatter(
    published: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Flatter:
    """The command line, run in a published book."""
    monkeypatch.chdir(published.root)
    monkeypatch.setattr(cli, "out", Console(highlight=False, width=400))

    def run(line: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["flatter", *line.split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, said.out, said.err)

    return run


@dataclass
class Kernel:
    """Stands in for a kernel: remembers what it was asked to execute, and gives an execution back."""

    gives: Execution
    asked: list[dict[str, Any]] = field(default_factory=list)
    fails: Exception | None = None

    def execute(
        self, project: Project, chapter: Chapter, changed: Mapping[str, Any] = {}, **_: Any
    ) -> Execution:
        self.asked.append(dict(changed))
        if self.fails:
            raise self.fails
        return self.gives


@pytest.fixture
def kernel(shelf: tuple[Project, Execution], monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """In place of a real one, which other tests start."""
    stand_in = Kernel(shelf[1])
    monkeypatch.setattr(execute, "execute", stand_in.execute)
    return stand_in


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def changed(execution: Execution, text: str = "", height: float = 1.6) -> Execution:
    """An execution that printed or drew something else."""
    values = json.loads(json.dumps(execution.values))
    values["fig-toy: height"]["numbers"][1] = height
    twin = nbformat.reads(nbformat.writes(execution.twin), as_version=4)
    if text:
        sources.code_cells(twin)[-1].outputs[-1].text = text
    return Execution(twin, values, dict(execution.provenance))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run toi", "no chapter 'toi'; did you mean toy? (`flatter chapters` lists them)"),
        ("run toy -p runs=many", "runs=many: runs takes a value of type int, like 8"),
        ("run toy -p =3", "-p =3: write -p NAME=VALUE"),
        ("run toy -p runs=3 -p runs=5", "-p runs=5: runs is given twice: keep one"),
        ("run toy --set no.yml", "--set no.yml: cannot be read as YAML: [Errno 2] No such file"),
        ("run toy --profile=", "no profile ''; this chapter has laptop, smoke"),
        ("run toy --out there.ipynb", "--out there.ipynb: there.ipynb is there already; --force"),
        ("run toy --out own.ipynb", "--out own.ipynb: own.values.json is there already; --force"),
        ("run toy --out own.txt", "--out own.txt: an executed notebook's name ends in .ipynb"),
        ("run toy --out book/../book/chapters/sub/own.ipynb", "--out book/../book/chapters/sub/"),
        (
            "check --only stile",
            "--only stile: the stages are style, hygiene, unit, nbval, pages, browser",
        ),
        ("data get imagenet", "no data set 'imagenet'; there are fashion-mnist, mnist, cifar10"),
    ],
)
def test_wrong_input_gets_one_clear_line_and_status_2(
    flatter: Flatter, kernel: Kernel, published: Project, arguments: str, said: str
) -> None:
    for name in ("there.ipynb", "own.values.json"):
        (published.root / name).write_text("mine")
    before = contents(published.root)
    done = flatter(arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"flatter: {said}")
    assert kernel.asked == []
    assert contents(published.root) == before


def test_where_no_book_can_be_read_it_is_said_in_one_line(
    flatter: Flatter, published: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published.executed)  # any folder of the checkout serves
    assert flatter("chapters").status == 0
    (published.root / "_toc.yml").write_bytes(b"\xff\xfe\x00")
    done = flatter("chapters")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("flatter: _toc.yml cannot be read: ")
    monkeypatch.setenv("FLATTER_DATA", "~no-such-user/data")
    assert flatter("chapters").err.startswith("flatter: FLATTER_DATA=~no-such-user/data names no ")
    monkeypatch.delenv("FLATTER_DATA")
    monkeypatch.chdir(tmp_path)
    assert flatter("run toy").err.startswith("flatter: no book here: run this inside a checkout")


def test_help_is_quick_and_complete() -> None:
    script = (
        "import sys\n"
        "from flatter_lib.__main__ import main\n"
        f"for command in [[], *([c] for c in {COMMANDS}), ['data', 'get']]:\n"
        "    sys.argv = ['flatter', *command, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as ended:\n"
        "        assert ended.code == 0, command\n"
        "slow = {'torch', 'numba', 'numpy', 'matplotlib', 'papermill', 'sphinx', 'jupytext', 'IPython'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == len(COMMANDS) + 2


def test_a_name_that_the_locale_does_not_have_is_printed_all_the_same(published: Project) -> None:
    (published.source / "é.md").write_text("# Another\n")
    command = [sys.executable, "-m", "flatter_lib", "chapters"]
    settings = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=published.book, env=settings
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe9" in done.stdout


def test_run_as_published_refreshes_the_published_twin(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    chapter = published.chapter("toy")
    for name in ("toy", "book/source/toy.md", "book/chapters/toy.ipynb"):
        for path in chapter.files:
            path.write_text("old")
        done = flatter(f"run {name}")
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith(" s, published notebook refreshed\n")
        assert freshness.state(published, chapter).fresh
    assert kernel.asked == [{}] * 3
    assert not published.build.exists()


@pytest.mark.parametrize(
    ("module", "old", "height", "kept"),
    [
        ("claims", "return 1", 1.6 * (1 + 5e-5), True),
        ("claims", "return 1", 2.0, False),
        ("figures", "return 2", 1.6, False),
        ("unrelated", "NUMBER = 3", 1.6, False),
    ],
)
def test_run_keeps_a_twin_under_which_only_the_library_changed_if_it_holds(
    flatter: Flatter,
    kernel: Kernel,
    published: Project,
    edit: Edit,
    module: str,
    old: str,
    height: float,
    kept: bool,
) -> None:
    chapter = published.chapter("toy")
    edit(published.library / f"{module}.py", old, f"{old}0")
    kernel.gives = changed(kernel.gives, height=height)
    inputs = freshness.inputs(published, chapter)
    kernel.gives.provenance.update({"inputs": inputs, "executed": "now"})
    before = chapter.twin.read_bytes(), chapter.values.read_bytes()
    done = flatter("run toy")
    assert ("the same as published and so verified" in done.out) == kept
    assert (json.loads(chapter.provenance.read_text())["executed"] != "now") == kept
    if kept:
        assert (chapter.twin.read_bytes(), chapter.values.read_bytes()) == before
    assert freshness.state(published, chapter).fresh


@pytest.mark.parametrize(
    ("given", "changed", "name"),
    [
        ("-p runs=3", {"runs": 3}, "toy--laptop--runs=3"),
        ("--profile smoke -p runs=8", {}, "toy--smoke"),
        ("--set own.yml -p rate=1", {"runs": 4, "rate": 1.0}, "toy--laptop--runs=4,rate=1.0"),
        ("-p runs=8", {}, "toy--laptop"),
    ],
)
def test_run_with_anything_else_writes_a_run_of_ones_own(
    flatter: Flatter,
    kernel: Kernel,
    published: Project,
    given: str,
    changed: dict[str, Any],
    name: str,
) -> None:
    (published.root / "own.yml").write_text("runs: 4\nrate: '1e-2'\n")
    before = contents(published.book)
    done = flatter(f"run toy {given}")
    target = published.build / "runs" / f"{name}.ipynb"
    assert (done.status, done.err, kernel.asked) == (0, "", [changed])
    assert done.out.endswith(f" s, written to {target}\n")
    assert nbformat.read(target, as_version=4) == kernel.gives.twin
    assert contents(published.book) == before


def test_a_run_of_ones_own_replaces_none(
    flatter: Flatter, kernel: Kernel, published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("", "--2", "--3"):
        assert flatter("run toy -p runs=3").out.endswith(f"--runs=3{number}.ipynb\n")
    assert flatter("run toy -p runs=3 --force").out.endswith("--runs=3.ipynb\n")
    own = published.root / "own.ipynb"

    def execution(*arguments: Any, **options: Any) -> Execution:
        own.write_text("another's, written meanwhile")
        return kernel.gives

    monkeypatch.setattr(execute, "execute", execution)
    assert flatter("run toy --out own.ipynb").out.endswith("own--2.ipynb\n")
    assert own.read_text() == "another's, written meanwhile"
    assert flatter("run toy --out own.ipynb --force").out.endswith("own.ipynb\n")
    assert nbformat.read(own, as_version=4) == kernel.gives.twin


def test_a_chapter_that_fails_gets_one_line_and_status_1(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    before = contents(published.root)
    for error in ("toy: cell 2 (`f[0]`) raised ValueError: [bold]no[/]", "no room"):
        kernel.fails = FailedError(error) if "cell" in error else OSError(error)
        assert flatter("run toy") == (1, "", f"flatter: {error}\n")
    assert contents(published.root) == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("run toy --out folder.ipynb", "folder.ipynb cannot be written: Is a directory; is there"),
        ("run toy -p runs=3", "toy--laptop--runs=3.ipynb cannot be written: Not a directory; is"),
        ("run toy", "toy.ipynb cannot be written: Is a directory; is there room"),
        ("book", "index.html cannot be written: Not a directory; is there room"),
    ],
)
def test_what_cannot_be_written_is_known_before_anything_is_executed(
    flatter: Flatter, kernel: Kernel, published: Project, given: str, why: str
) -> None:
    published.build.write_text("a file")
    twin = published.chapter("toy").twin
    twin.unlink()
    for folder in (twin, published.root / "folder.ipynb"):
        folder.mkdir()
    done = flatter(given)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert why in done.err
    assert kernel.asked == []


def row(done: Done, slug: str = "toy") -> str:
    assert (done.status, done.err) == (0, "")
    (line,) = [line for line in done.out.splitlines() if slug in line.split()]
    return " ".join(line.replace("│", " ").split())


def test_chapters_says_when_how_long_and_whether_each_is_fresh(
    flatter: Flatter, published: Project, edit: Edit
) -> None:
    stored = json.loads(published.chapter("toy").provenance.read_text())
    when, seconds = stored["executed"], stored["seconds"]
    assert row(flatter("chapters")) == (f"toy {when[:10]} {when[11:19]} {seconds:.0f} s fresh")
    edit(published.library / "claims.py", "return 1", "return 3")
    assert row(flatter("chapters")).endswith(" unverified: `claims` changed")
    edit(published.chapter("toy").source, "runs: int = 8 ", "runs: int = 9 ")
    assert row(flatter("chapters")).endswith(
        " stale: its code changed; its parameters changed; `claims` changed"
    )
    (published.source / "another.md").write_text("# Another, on [0, 1]\n")
    edit(published.chapter("toy").source, "runs: int = 9 ", "runs = 9 ")
    done = flatter("chapters")
    assert row(done, "another") == "another never stale: never executed"
    assert "cannot be read: toy: parameters cell, line 1: write `name: type" in row(done)


def test_diff_of_the_same_says_so_and_verifies(
    flatter: Flatter, kernel: Kernel, published: Project, edit: Edit
) -> None:
    chapter = published.chapter("toy")
    kernel.gives = changed(kernel.gives, height=1.6 * (1 + 5e-5))
    before = contents(published.root)
    assert flatter("diff toy") == (0, "toy: the same as published\n", "")
    edit(published.library / "figures.py", "return 2", "return 3")
    assert flatter("diff toy").out == "toy: the same as published\n"  # but for its pictures
    edit(published.library / "figures.py", "return 3", "return 2")
    assert contents(published.root) == before
    edit(published.library / "claims.py", "return 1", "return 3")
    kernel.gives.provenance["inputs"] = freshness.inputs(published, chapter)
    done = flatter("diff toy")
    assert done.out == "toy: the same as published, and so verified under today's library\n"
    after = contents(published.root)
    assert {path for path in after if after[path] != before[path]} == {
        "book/chapters/toy.provenance.json",
        "flatter_lib/claims.py",
    }
    assert freshness.state(published, chapter).fresh
    made = json.loads(chapter.provenance.read_text())
    assert made["verified"]["commit"] == kernel.gives.provenance["commit"]


def test_diff_shows_what_changed_and_publishes_it_if_accepted(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    kernel.gives = changed(kernel.gives, "runs [8]\n", height=2.0)
    before = contents(published.root)
    done = flatter("diff toy")
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert {"-runs 8", "+runs [8]"} <= set(lines)
    assert lines[-2:] == [
        "fig-toy: height: 1 of 2 numbers beyond rtol 0.0001; the worst, 1.6 published, is 2",
        "if the change is meant: flatter diff toy --accept",
    ]
    assert contents(published.root) == before
    assert "accepted, published notebook refreshed" in flatter("diff toy --accept").out
    assert json.loads(published.chapter("toy").values.read_text()) == kernel.gives.values
    assert flatter("diff toy").status == 0
    published.chapter("toy").twin.unlink()
    assert flatter("diff toy").err == "flatter: toy was never executed: flatter run toy\n"


def test_format_tidies_sources_and_names_them(flatter: Flatter, published: Project) -> None:
    source = published.chapter("toy").source
    assert flatter("format") == (0, "toy: source tidied\n", "")
    assert source.read_text() == sources.tidy(source.read_text())
    assert flatter("format") == (0, "", "")


def test_claims_lists_the_ledger_and_what_keeps_it_from_closing(
    flatter: Flatter, published: Project, edit: Edit
) -> None:
    assert row(flatter("claims")) == "toy this book 1 reproduced toy"
    assert row(flatter("claims --verdict reproduced"))
    (listed,) = json.loads(flatter("claims --json").out)
    assert (listed["id"], listed["value"], listed["chapter"]) == ("toy", 1.0, "toy")
    assert (listed["verdict"], listed["counted"]) == ("reproduced", True)
    for option in ("--paper", "--verdict"):
        assert flatter(f"claims {option} x").err.startswith(f"flatter: {option} x: the ledger has ")
    edit(published.claims / "toy.yml", "id: toy", "id: tow")
    done = flatter("claims")
    assert "not tested here" in done.out
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize(("needed", "state"), [(True, "missing"), (False, "note")])
def test_doctor_fails_only_for_what_the_book_needs(
    flatter: Flatter, monkeypatch: pytest.MonkeyPatch, needed: bool, state: str
) -> None:
    found = [Diagnosis("git", "", "a clone"), Diagnosis("disk", "1 GiB [free]", "", needed)]
    monkeypatch.setattr(doctor, "examine", lambda _: iter(found))
    said = f"  ok      git: a clone\n  {state:7} disk: 1 GiB [free]\n"
    assert flatter("doctor") == (int(needed), said, "")


def test_data_lists_and_gets(flatter: Flatter, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(name: str, console: Console) -> None:
        raise FailedError(f"{name} cannot be fetched")

    monkeypatch.setattr(datasets, "listing", lambda: iter(["[toys]", "  here"]))
    monkeypatch.setattr(datasets, "get", get)
    assert flatter("data") == (0, "[toys]\n  here\n", "")
    assert flatter("data get any") == (1, "", "flatter: any cannot be fetched\n")


@dataclass
class Works:
    """Stands in for all that `flatter book` sets going, and remembers it."""

    executed: list[Sequence[str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    built: int = 0
    good: bool = True
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Works:
    works = Works()

    def run(given: list[Command], console: Console, at_once: int) -> bool:
        works.executed += [command.arguments[3:] for command in given]
        return works.good

    def pages(project: Project, folder: Path) -> Built:
        works.built += 1
        html = tmp_path / "built"
        html.mkdir(exist_ok=True)
        (html / "index.html").write_text("new")
        return Built(html, works.warnings)

    monkeypatch.setattr(commands, "run", run)
    monkeypatch.setattr(build, "build", pages)
    monkeypatch.setattr(hygiene, "before_build", lambda _: works.before)
    monkeypatch.setattr(hygiene, "after_build", lambda *_: works.after)
    monkeypatch.setattr(datasets, "get", lambda name, _: works.fetched.append(name))
    return works


def test_book_executes_what_is_not_fresh_and_says_why(
    flatter: Flatter, works: Works, published: Project, edit: Edit
) -> None:
    done = flatter("book")
    assert done == (0, "  toy: fresh\nthe book: open _build/html/index.html\n", "")
    assert (works.executed, works.built) == ([], 1)
    assert (published.html / "index.html").read_text() == "new"
    chapter = published.chapter("toy")
    edit(chapter.source, "Some text.", "Another text.")
    assert "  toy: stale: its text changed\n" in flatter("book").out
    assert works.executed == []
    assert "Another text." in chapter.twin.read_text()
    assert freshness.state(published, chapter).fresh
    edit(published.library / "claims.py", "return 1", "return 3")
    edit(chapter.source, "flatter:\n", "flatter:\n  data: [fashion-mnist]\n")
    assert "  toy: stale: its text changed; `claims` changed\n" in flatter("book").out
    assert (works.executed, works.fetched) == ([["run", "toy"]], ["fashion-mnist"])


@pytest.mark.parametrize(
    ("change", "built", "said"),
    [
        ({"good": False}, 0, []),
        ({"before": ["a.md: bad [x]", "b.md: worse"]}, 0, ["  a.md: bad [x]", "  b.md: worse"]),
        ({"warnings": ("book/a.md:3: WARNING: odd",)}, 1, ["  book/a.md:3: WARNING: odd"]),
        ({"after": ["a.html: loads a font"]}, 1, ["  a.html: loads a font"]),
    ],
)
def test_book_stops_at_the_first_stage_that_fails_and_leaves_the_pages(
    flatter: Flatter,
    works: Works,
    published: Project,
    change: dict[str, Any],
    built: int,
    said: list[str],
) -> None:
    published.html.mkdir(parents=True)
    (published.html / "index.html").write_text("old")
    for name, value in change.items():
        setattr(works, name, value)
    done = flatter("book --fresh")
    found = [f"flatter: {len(said)} found; the book in _build/html is as it was"] if said else []
    assert (done.status, done.err.splitlines()) == (1, said + found)
    assert (works.executed, works.built) == ([["run", "toy"]], built)
    assert (published.html / "index.html").read_text() == "old"


def test_check_runs_the_stages_that_are_named_and_gets_the_data_first(
    flatter: Flatter, published: Project, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(datasets, "get", lambda name, _: ran.append(name))

    def run(project: Project, console: Console, only: Sequence[str]) -> bool:
        ran.extend(only)
        return not only

    monkeypatch.setattr(check, "run", run)
    edit(published.chapter("toy").source, "flatter:\n", "flatter:\n  data: [fashion-mnist]\n")
    assert flatter("check").status == 0
    assert ran == ["fashion-mnist"]
    assert flatter("check --only pages --only style").status == 1
    assert ran == ["fashion-mnist", "pages", "style"]
