"""Building the pages: every warning is a problem, a bad build leaves nothing, and good pages are swapped in whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flatter_lib.publish import build
from flatter_lib.publish.build import Built
from flatter_lib.publish.project import Project

CONFIG = """\
title: A tiny book
execute: {execute_notebooks: "off"}
html: {use_repository_button: false}
sphinx:
  config:
    include_patterns: ["book/*.md"]
"""

#: Stands in for jupyter-book: does what it is told, then ends with a status.
STAND_IN = """
import pathlib, sys
command, root, _, folder, *strict = sys.argv[1:]
assert command == "build" and strict == ["-n", "-W", "--keep-going"]
html = pathlib.Path(folder, "_build", "html")
html.mkdir(parents=True, exist_ok=True)
html.joinpath("index.html").write_text("a page")
{does}
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    monkeypatch.setattr(build, "_JUPYTER_BOOK", STAND_IN.replace("{does}", does))


def test_a_reference_to_nowhere_is_a_problem_with_its_place(
    project: Project, tmp_path: Path
) -> None:
    (project.root / "_config.yml").write_text(CONFIG)
    (project.root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (project.book / "index.md").write_text("# A tiny book\n\nSee {ref}`nowhere`.\n")
    folder = tmp_path / "pages"
    built = build.build(project, folder)
    (problem,) = [line for line in built.problems if "nowhere" in line]
    assert problem.startswith("book/index.md:3: WARNING: undefined label: 'nowhere'")
    assert not any(str(project.root) in line for line in built.problems)
    assert not folder.exists()
    assert not project.html.exists()


def test_what_the_last_build_left_is_used_unless_all_is_to_be_new(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "print('WARNING: not one that Sphinx counted')")
    kept = tmp_path / "pages" / "_build" / "kept"
    kept.mkdir(parents=True)
    assert build.build(project, tmp_path / "pages").problems == ()
    assert kept.exists()
    build.build(project, tmp_path / "pages", clean=True)
    assert not kept.exists()


def test_warnings_are_reported_once_without_colours_and_paths_of_this_machine(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(
        monkeypatch,
        "red = chr(27) + '[31m'\n"
        "for _ in range(2): print(f'{red}{root}/book/a.md:3: WARNING: odd', file=sys.stderr)\n"
        "print('reading sources')\n"
        "print('ERROR: worse')\n"
        "sys.exit(1)",
    )
    built = build.build(project, tmp_path / "pages")
    assert sorted(built.problems) == ["ERROR: worse", "book/a.md:3: WARNING: odd"]
    assert not (tmp_path / "pages").exists()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("sys.exit('no such option')", ("no such option",)),
        ("sys.exit(3)", ("jupyter-book ended with status 3",)),
        ("print('x' * 9)\nsys.exit(1)", ("xxxxxxxxx",)),
    ],
)
def test_a_failure_without_a_warning_is_told_by_its_last_words(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    said: tuple[str, ...],
) -> None:
    stand_in(monkeypatch, does)
    assert build.build(project, tmp_path / "pages").problems == said


@pytest.mark.parametrize(
    "interrupt",
    [
        KeyboardInterrupt,
    ],
)
def test_an_interrupted_build_leaves_nothing(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupt: type[BaseException],
) -> None:
    def run(*_: Any, **__: Any) -> None:
        (tmp_path / "pages" / "half").mkdir(parents=True)
        raise interrupt

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(interrupt):
        build.build(project, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """Two finished pages."""
    html = tmp_path / "pages" / "html"
    (html / "sub").mkdir(parents=True)
    (html / "index.html").write_text("new")
    (html / "sub" / "page.html").write_text("new")
    return Built(html, ())


def pages(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_finished_pages_take_the_place_of_the_former_ones_whole(
    project: Project, built: Built
) -> None:
    build.install(built, project.html)
    assert pages(project.html) == {"index.html": "new", "sub/page.html": "new"}
    (project.html / "gone.html").write_text("old")
    (project.html / "index.html").write_text("old")
    for leftover in (".html-new", ".html-old"):  # of an installation that was interrupted
        (project.build / leftover).mkdir()
        (project.build / leftover / "half.html").write_text("half")
    build.install(built, project.html)
    assert pages(project.html) == {"index.html": "new", "sub/page.html": "new"}
    assert [path.name for path in project.build.iterdir()] == ["html"]
    assert pages(built.html) == {"index.html": "new", "sub/page.html": "new"}


def test_the_former_pages_stay_whole_until_the_new_ones_are(
    project: Project, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.html.mkdir(parents=True)
    (project.html / "index.html").write_text("old")

    def stopped(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "index.html").write_text("new")
        raise OSError("no space left on the disk")

    monkeypatch.setattr(shutil, "copytree", stopped)
    with pytest.raises(OSError, match="no space"):
        build.install(built, project.html)
    assert pages(project.html) == {"index.html": "old"}
