"""The command line: what each command does and says, and one clear line and status 2 for every wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from rich.console import Console

from flatter_lib.publish import (
    build,
    check,
    cli,
    datasets,
    doctor,
    execute,
    freshness,
    hygiene,
    pool,
    sources,
)
from flatter_lib.publish.build import Built
from flatter_lib.publish.doctor import Diagnosis
from flatter_lib.publish.execute import ChapterError, Execution
from flatter_lib.publish.project import Chapter, FailedError, Project

COMMANDS = ["chapters", "run", "diff", "book", "format", "check", "data", "claims", "doctor"]

Edit = Callable[[Path, str, str], None]


@dataclass(frozen=True)
class Done:
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

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["flatter", *arguments])
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
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fails: Exception | None = None

    def execute(
        self,
        project: Project,
        chapter: Chapter,
        changed: Mapping[str, Any] | None = None,
        *,
        progress: bool = False,
    ) -> Execution:
        self.asked.append((chapter.slug, dict(changed or {})))
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run toi", "no chapter 'toi'; did you mean toy? (`flatter chapters` lists them)"),
        ("run toy -p runs=many", "runs=many: runs takes a value of type int, like 8"),
        ("run toy -p runs", "-p runs: write -p NAME=VALUE"),
        ("run toy -p =3", "-p =3: write -p NAME=VALUE"),
        ("run toy -p runs=3 -p runs=5", "-p runs=5: runs is given twice: keep one"),
        ("run toy --set two.yml", "--set two.yml: `runs` is given twice: keep one"),
        (
            "run toy --set true.yml --set octal.yml",
            "--set octal.yml: runs is given twice: keep one",
        ),
        ("run toy --set no.yml", "--set no.yml: cannot be read as YAML: [Errno 2] No such file"),
        ("run toy --set bytes.yml", "--set bytes.yml: cannot be read as YAML: "),
        ("run toy --set list.yml", "--set list.yml: write one `name: value` a line"),
        ("run toy --profile=", "no profile ''; this chapter has laptop, smoke"),
        ("run toy --out there.ipynb", "--out there.ipynb: there.ipynb is there already; --force"),
        ("run toy --out own.ipynb", "--out own.ipynb: own.values.json is there already; --force"),
        ("run toy --out own.txt", "--out own.txt: an executed notebook's name ends in .ipynb"),
        (
            "run toy --out book/../book/chapters/sub/own.ipynb",
            "--out book/../book/chapters/sub/own.ipynb: book/chapters holds the published notebooks",
        ),
        (
            "check --only stile",
            "--only stile: the stages are style, hygiene, unit, nbval, pages, machines",
        ),
        ("data get imagenet", "no data set 'imagenet'; there are fashion-mnist, mnist, cifar10"),
    ],
)
def test_wrong_input_gets_one_clear_line_and_status_2(
    flatter: Flatter, kernel: Kernel, published: Project, arguments: str, said: str
) -> None:
    for name, text in {
        "list.yml": "- runs",
        "true.yml": "runs: true",
        "octal.yml": "runs: 010",
        "two.yml": "runs: 3\nruns: 5",
        "there.ipynb": "mine",
        "own.values.json": "mine",
    }.items():
        (published.root / name).write_text(text)
    (published.root / "bytes.yml").write_bytes(b"\xff\xfe\xfa")
    before = contents(published.root)
    done = flatter(*arguments.split())
    assert done.status == 2
    assert done.err.startswith(f"flatter: {said}")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert kernel.asked == []
    assert contents(published.root) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "chapters",
        "run toy",
        "book",
    ],
)
def test_outside_a_checkout_every_command_says_where_to_be(
    flatter: Flatter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = flatter(*arguments.split())
    assert done.status == 2
    assert done.err == (
        "flatter: no book here: run this inside a checkout, the folder with _toc.yml and book/ or one below it\n"
    )


def test_a_data_root_that_is_none_is_said_in_one_line(
    flatter: Flatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATTER_DATA", "~no-such-user/data")
    done = flatter("chapters")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("flatter: FLATTER_DATA=~no-such-user/data names no folder: ")


def test_any_folder_of_the_checkout_serves(
    flatter: Flatter, published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published.executed)
    assert "toy" in flatter("chapters").out


def test_a_broken_table_of_contents_is_said_in_one_line(
    flatter: Flatter, published: Project
) -> None:
    (published.root / "_toc.yml").write_bytes(b"\xff\xfe\x00")
    done = flatter("chapters")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("flatter: _toc.yml cannot be read: ")


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
    for command in COMMANDS:
        assert f"flatter {command}" in done.stdout


def test_a_name_that_the_locale_does_not_have_is_printed_all_the_same(published: Project) -> None:
    (published.source / "é.md").write_text("# Another\n")
    done = subprocess.run(
        [sys.executable, "-m", "flatter_lib", "chapters"],
        capture_output=True,
        check=False,
        cwd=published.book,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe9" in done.stdout


# run


def test_run_as_published_refreshes_the_published_twin(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    chapter = published.chapter("toy")
    for path in (chapter.twin, chapter.values, chapter.provenance):
        path.write_text("old")
    done = flatter("run", "toy")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(" s, published notebook refreshed\n")
    assert freshness.state(published, chapter).fresh
    assert kernel.asked == [("toy", {})]
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
    made = kernel.gives.provenance | {
        "inputs": freshness.inputs(published, chapter),
        "executed": "now",
    }
    kernel.gives = replace(changed(kernel.gives, height=height), provenance=made)
    before = chapter.twin.read_bytes(), chapter.values.read_bytes()
    done = flatter("run", "toy")
    assert ("the same as published and so verified" in done.out) == kept
    assert (json.loads(chapter.provenance.read_text())["executed"] != "now") == kept
    if kept:
        assert (chapter.twin.read_bytes(), chapter.values.read_bytes()) == before
    assert freshness.state(published, chapter).fresh
    assert len(kernel.asked) == 1


@pytest.mark.parametrize(
    ("given", "changed", "name"),
    [
        (["-p", "runs=3"], {"runs": 3}, "toy--laptop--runs=3"),
        (["--profile", "smoke", "-p", "runs=8"], {}, "toy--smoke"),
        (["--set", "own.yml", "-p", "rate=1"], {"runs": 4, "rate": 1.0}, "toy--laptop--runs=4,rate=1.0"),
        (["-p", "runs=8"], {}, "toy--laptop"),
        (["--set", "loud.yml", "--set", "empty.yml"], {"loud": True}, "toy--laptop--loud=True"),
    ],
)  # fmt: skip
def test_run_with_anything_else_writes_a_run_of_ones_own(
    flatter: Flatter,
    kernel: Kernel,
    published: Project,
    given: list[str],
    changed: dict[str, Any],
    name: str,
) -> None:
    (published.root / "own.yml").write_text("runs: 4\nrate: '1e-2'\n")
    (published.root / "empty.yml").write_text("{}\n")
    (published.root / "loud.yml").write_text("loud: true\n")
    before = contents(published.book)
    done = flatter("run", "toy", *given)
    target = published.build / "runs" / f"{name}.ipynb"
    assert (done.status, done.err) == (0, "")
    assert kernel.asked == [("toy", changed)]
    assert done.out.endswith(f" s, written to {target}\n")
    assert nbformat.read(target, as_version=4) == kernel.gives.twin
    assert contents(published.book) == before


def test_a_run_of_ones_own_replaces_none(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    for number in ("", "--2", "--3"):
        assert flatter("run", "toy", "-p", "runs=3").out.endswith(f"--runs=3{number}.ipynb\n")
    (published.root / "own.ipynb").write_text("mine")
    assert flatter("run", "toy", "--out", "own.ipynb").status == 2
    assert (published.root / "own.ipynb").read_text() == "mine"
    assert flatter("run", "toy", "--out", "own.ipynb", "--force").status == 0
    assert flatter("run", "toy", "-p", "runs=3", "--force").out.endswith("--runs=3.ipynb\n")
    assert nbformat.read(published.root / "own.ipynb", as_version=4) == kernel.gives.twin
    assert len(list((published.build / "runs").glob("*.ipynb"))) == 3


def test_what_was_written_meanwhile_stays(
    flatter: Flatter, kernel: Kernel, published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = published.root / "own.ipynb"

    def execution(*arguments: Any, **options: Any) -> Execution:
        own.write_text("another's")
        return kernel.gives

    monkeypatch.setattr(execute, "execute", execution)
    assert flatter("run", "toy", "--out", "own.ipynb").out.endswith("own--2.ipynb\n")
    assert own.read_text() == "another's"


def test_out_says_where_a_run_goes_and_the_twin_stays(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    before = contents(published.book)
    for target in ("[c] é.ipynb", "new/folder/{a} {}[/].ipynb", "book/own.ipynb"):
        done = flatter("run", "toy", "--out", target)
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith(f"written to {target}\n")
        assert (published.root / target).is_file()
    for written in published.book.glob("own.*"):
        written.unlink()
    assert contents(published.book) == before
    assert kernel.asked == [("toy", {})] * 3


def test_a_chapter_can_be_named_by_either_twin(flatter: Flatter, kernel: Kernel) -> None:
    for name in ("toy", "toy.md", "book/source/toy.md", "book/chapters/toy.ipynb"):
        assert flatter("run", name).status == 0


def test_a_chapter_that_fails_gets_one_line_and_status_1(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    kernel.fails = ChapterError("toy: cell 2 (`f[0]`) raised ValueError: [bold]no[/]")
    before = contents(published.root)
    done = flatter("run", "toy")
    assert done == Done(1, "", f"flatter: {kernel.fails}\n")
    assert contents(published.root) == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("run toy --out folder.ipynb", "folder.ipynb cannot be written: Is a directory; choose another"),
        ("run toy --out _toc.yml/own.ipynb", "_toc.yml/own.ipynb cannot be written: Not a directory; choose"),
        ("run toy -p runs=3", "toy--laptop--runs=3.ipynb cannot be written: Not a directory; choose"),
        ("run toy", "toy.ipynb cannot be written: Is a directory; is there room"),
        ("book", "index.html cannot be written: Not a directory; is there room"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_known_before_anything_is_executed(
    flatter: Flatter, kernel: Kernel, published: Project, given: str, why: str
) -> None:
    (published.root / "folder.ipynb").mkdir()
    published.build.write_text("a file")
    twin = published.chapter("toy").twin
    twin.unlink()
    twin.mkdir()
    done = flatter(*given.split())
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert why in done.err
    assert kernel.asked == []


# chapters


def row(done: Done, slug: str = "toy") -> str:
    assert (done.status, done.err) == (0, "")
    (line,) = [line for line in done.out.splitlines() if slug in line.split()]
    return " ".join(line.replace("│", " ").split())


def test_chapters_says_when_how_long_and_that_it_is_fresh(
    flatter: Flatter, published: Project
) -> None:
    stored = json.loads(published.chapter("toy").provenance.read_text())
    when, seconds = stored["executed"], stored["seconds"]
    assert row(flatter("chapters")) == (f"toy {when[:10]} {when[11:19]} {seconds:.0f} s fresh")


def test_chapters_says_why_one_is_stale(flatter: Flatter, published: Project, edit: Edit) -> None:
    edit(published.library / "claims.py", "return 1", "return 3")
    assert row(flatter("chapters")).endswith(" unverified: `claims` changed")
    edit(published.chapter("toy").source, "runs: int = 8 ", "runs: int = 9 ")
    assert row(flatter("chapters")).endswith(
        " stale: its code changed; its parameters changed; `claims` changed"
    )


def test_chapters_lists_what_was_never_executed_and_what_cannot_be_read(
    flatter: Flatter, published: Project, edit: Edit
) -> None:
    (published.source / "another.md").write_text("# Another, on [0, 1]\n")
    edit(published.chapter("toy").source, "runs: int = 8 ", "runs = 8 ")
    done = flatter("chapters")
    assert row(done, "another") == "another never stale: never executed"
    assert "cannot be read: toy: parameters cell, line 1: write `name: type" in row(done)


# diff


def changed(execution: Execution, text: str = "", height: float = 1.6) -> Execution:
    """An execution that printed or drew something else."""
    values = json.loads(json.dumps(execution.values))
    values["fig-toy: height"]["numbers"][1] = height
    twin = nbformat.reads(nbformat.writes(execution.twin), as_version=4)
    if text:
        sources.code_cells(twin)[-1].outputs[-1].text = text
    return replace(execution, twin=twin, values=values)


def test_diff_of_the_same_is_silent_about_it(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    kernel.gives = changed(kernel.gives, height=1.6 * (1 + 5e-5))
    before = contents(published.root)
    assert flatter("diff", "toy") == Done(0, "toy: the same as published\n", "")
    assert kernel.asked == [("toy", {})]
    assert contents(published.root) == before


def test_diff_of_the_same_verifies_what_the_library_changed_under(
    flatter: Flatter, kernel: Kernel, published: Project, edit: Edit
) -> None:
    chapter = published.chapter("toy")
    edit(published.library / "figures.py", "return 2", "return 3")
    assert flatter("diff", "toy").out == "toy: the same as published\n"  # but for its pictures
    edit(published.library / "figures.py", "return 3", "return 2")
    edit(published.library / "claims.py", "return 1", "return 3")
    inputs = freshness.inputs(published, chapter)
    kernel.gives = replace(kernel.gives, provenance=kernel.gives.provenance | {"inputs": inputs})
    before = contents(published.root)
    done = flatter("diff", "toy")
    assert done.out == "toy: the same as published, and so verified under today's library\n"
    after = contents(published.root)
    assert {path for path in after if after[path] != before[path]} == {
        str(chapter.provenance.relative_to(published.root))
    }
    assert freshness.state(published, chapter).fresh
    made = json.loads(chapter.provenance.read_text())
    assert made["verified"]["commit"] == kernel.gives.provenance["commit"]


def test_diff_shows_what_changed_and_publishes_nothing(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    kernel.gives = changed(kernel.gives, "runs [8]\n", height=2.0)
    before = contents(published.root)
    done = flatter("diff", "toy")
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert "-runs 8" in lines
    assert "+runs [8]" in lines
    assert lines[-2:] == [
        "fig-toy: height: 1 of 2 numbers beyond rtol 0.0001; the worst, 1.6 published, is 2",
        "if the change is meant: flatter diff toy --accept",
    ]
    assert contents(published.root) == before


def test_diff_accept_publishes_what_it_shows(
    flatter: Flatter, kernel: Kernel, published: Project
) -> None:
    kernel.gives = changed(kernel.gives, "runs [8]\n", height=2.0)
    done = flatter("diff", "toy", "--accept")
    assert (done.status, done.err) == (0, "")
    assert "+runs [8]" in done.out
    assert "accepted, published notebook refreshed" in done.out
    chapter = published.chapter("toy")
    assert "runs [8]" in chapter.twin.read_text()
    assert json.loads(chapter.values.read_text()) == kernel.gives.values
    assert flatter("diff", "toy").status == 0


def test_diff_needs_a_published_twin(flatter: Flatter, kernel: Kernel, published: Project) -> None:
    published.chapter("toy").twin.unlink()
    assert flatter("diff", "toy") == Done(
        2, "", "flatter: toy was never executed: flatter run toy\n"
    )
    assert kernel.asked == []


# format


def test_format_tidies_sources_and_names_them(flatter: Flatter, published: Project) -> None:
    source = published.chapter("toy").source
    assert flatter("format") == Done(0, "toy: source tidied\n", "")
    assert source.read_text() == sources.tidy(source.read_text())
    assert flatter("format") == Done(0, "", "")


# claims, doctor, data


def test_claims_lists_measured_values_and_verdicts(flatter: Flatter) -> None:
    assert row(flatter("claims")) == "toy this book 1 reproduced toy"


def test_claims_says_what_keeps_the_ledger_from_closing(
    flatter: Flatter, published: Project, edit: Edit
) -> None:
    edit(published.claims / "toy.yml", "id: toy", "id: tow")
    done = flatter("claims")
    assert "not tested here" in done.out
    assert done.err.splitlines() == [
        "  toy: records the claim toy, which no file in book/claims states: add it there",
        "  toy.yml: claim tow has no row: record it in a chapter, or say why not with `untested:`",
    ]


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("note", 0), ("missing", 1)])
def test_doctor_fails_only_for_what_the_book_needs(
    flatter: Flatter, monkeypatch: pytest.MonkeyPatch, state: str, status: int
) -> None:
    found = [Diagnosis("git", "ok", "a clone"), Diagnosis("disk", state, "1 GiB [free]: make room")]
    monkeypatch.setattr(doctor, "examine", lambda _: iter(found))
    done = flatter("doctor")
    assert (done.status, done.err) == (status, "")
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        "ok git: a clone",
        f"{state} disk: 1 GiB [free]: make room",
    ]


def test_data_lists_and_gets(
    flatter: Flatter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "statuses", lambda: iter([("fashion-mnist", True, "here")]))
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path))
    assert "fashion-mnist" in flatter("data").out

    def get(name: str, console: Console) -> None:
        raise FailedError(f"{name} cannot be fetched")

    monkeypatch.setattr(datasets, "get", get)
    assert flatter("data", "get", "any") == Done(1, "", "flatter: any cannot be fetched\n")


# book, check


@dataclass
class Works:
    """Stands in for all that `flatter book` sets going, and remembers it."""

    executed: list[list[str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    built: int = 0
    status: int = 0
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Works:
    works = Works()

    def run_all(tasks: list[pool.Task], console: Console) -> list[pool.Outcome]:
        works.executed += [[task.label, *task.command[3:]] for task in tasks]
        return [pool.Outcome(task, works.status, "the child's words\n", 1.0) for task in tasks]

    def pages(project: Project, folder: Path) -> Built:
        works.built += 1
        html = tmp_path / "built"
        html.mkdir(exist_ok=True)
        (html / "index.html").write_text("new")
        return Built(html, works.warnings)

    monkeypatch.setattr(pool, "run_all", run_all)
    monkeypatch.setattr(build, "build", pages)
    monkeypatch.setattr(hygiene, "before_build", lambda _: works.before)
    monkeypatch.setattr(hygiene, "after_build", lambda *_: works.after)
    monkeypatch.setattr(datasets, "get", lambda name, _: works.fetched.append(name))
    return works


def test_book_executes_nothing_that_is_fresh(
    flatter: Flatter, works: Works, published: Project
) -> None:
    done = flatter("book")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "  fresh:      toy",
        "the book: open _build/html/index.html",
    ]
    assert (works.executed, works.built) == ([], 1)
    assert (published.html / "index.html").read_text() == "new"


def test_book_executes_what_is_stale_and_says_why(
    flatter: Flatter, works: Works, published: Project, edit: Edit
) -> None:
    edit(published.library / "claims.py", "return 1", "return 3")
    edit(published.chapter("toy").source, "flatter:\n", "flatter:\n  data: [fashion-mnist]\n")
    done = flatter("book")
    assert done.status == 0
    assert "  to execute: toy (its text changed, `claims` changed)" in done.out.splitlines()
    assert "the child's words" in done.out.splitlines()
    assert works.executed == [["toy", "run", "toy"]]
    assert works.fetched == ["fashion-mnist"]


def test_book_renews_a_text_without_executing(
    flatter: Flatter, works: Works, published: Project, edit: Edit
) -> None:
    chapter = published.chapter("toy")
    edit(chapter.source, "Some text.", "Another text.")
    assert "  fresh:      toy (its text changed, and is renewed)" in flatter("book").out
    assert works.executed == []
    assert "Another text." in chapter.twin.read_text()
    assert freshness.state(published, chapter).fresh


@pytest.mark.parametrize(
    ("change", "built", "said"),
    [
        ({"status": 1}, 0, ["the child's words"]),
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
    done = flatter("book", "--fresh")
    assert done.status == 1
    lines = done.err.splitlines()
    assert lines[: len(said)] == said
    if "status" not in change:
        assert lines[len(said) :] == [
            f"flatter: {len(said)} found; the book in _build/html is as it was"
        ]
    assert works.built == built
    assert (published.html / "index.html").read_text() == "old"


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three stages of checks, the second of which fails; which of them ran, after which data was fetched."""
    ran: list[str] = []

    def stage(name: str, passes: bool) -> check.Stage:
        def run(project: Project, console: Console) -> bool:
            ran.append(name)
            return passes

        return check.Stage(name, f"Stage {name}", run)

    stages = stage("style", True), stage("unit", False), stage("pages", True)
    monkeypatch.setattr(check, "STAGES", stages)
    monkeypatch.setattr(datasets, "get", lambda name, _: ran.append(name))
    return ran


def test_check_only_runs_the_stages_that_are_named(flatter: Flatter, stages: list[str]) -> None:
    assert flatter("check", "--only", "pages", "--only", "style").status == 0
    assert stages == ["style", "pages"]


def test_check_gets_the_data_first(
    flatter: Flatter, stages: list[str], published: Project, edit: Edit
) -> None:
    edit(published.chapter("toy").source, "flatter:\n", "flatter:\n  data: [fashion-mnist]\n")
    assert flatter("check").status == 1
    assert stages == ["fashion-mnist", "style", "unit", "pages"]
    stages.clear()
    flatter("check", "--only", "style")
    assert stages == ["style"]
