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

#: Stands in for jupyter-book, which tests of the book's pages start: does what it is told, then ends with a status.
STAND_IN = """
import pathlib, sys, time
command, root, _, folder, *strict = sys.argv[1:]
assert command == "build" and strict == ["-n", "-W", "--keep-going"]
html = pathlib.Path(folder, "_build", "html")
html.mkdir(parents=True, exist_ok=True)
html.joinpath("index.html").write_text("a page")
{does}
"""
WARNS = """
print('reading sources')
for _ in range(2): print(f'{chr(27)}[31m{root}/book/a.md:3: WARNING: odd', file=sys.stderr)
sys.exit('Exception occurred:\\n  why')
"""


def test_what_the_last_build_left_is_used_unless_all_is_to_be_new(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does = "print('WARNING: not one that Sphinx counted')"
    monkeypatch.setattr(build, "_JUPYTER_BOOK", STAND_IN.replace("{does}", does))
    kept = tmp_path / "pages" / "_build" / "kept"
    kept.mkdir(parents=True)
    html = tmp_path / "pages" / "_build" / "html"
    assert build.build(project, tmp_path / "pages") == Built(html, ())
    assert kept.exists()
    build.build(project, tmp_path / "pages", clean=True)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (WARNS, ("book/a.md:3: WARNING: odd", "Exception occurred: why")),
        ("sys.exit('no such option')", ("no such option",)),
        ("sys.exit(3)", ("jupyter-book ended with status 3",)),
        ("time.sleep(600)", ("jupyter-book was not done after 5 s",)),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    said: tuple[str, ...],
) -> None:
    monkeypatch.setattr(build, "_JUPYTER_BOOK", STAND_IN.replace("{does}", does))
    monkeypatch.setattr(build, "LIMIT", 5 if "sleep" in does else 60)
    assert build.build(project, tmp_path / "pages").problems == said
    assert not (tmp_path / "pages").exists()


def test_an_interrupted_build_leaves_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        (tmp_path / "pages" / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        build.build(project, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


def pages(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_finished_pages_take_the_place_of_the_former_ones_whole(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Built(tmp_path / "html")
    (built.html / "sub").mkdir(parents=True)
    for name in ("index.html", "sub/page.html"):
        (built.html / name).write_text("new")
    build.install(built, project.html)
    assert pages(project.html) == {"index.html": "new", "sub/page.html": "new"}
    (project.html / "gone.html").write_text("old")
    former = pages(project.html)

    def stopped(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "index.html").write_text("half")
        raise OSError("no space left on the disk")

    with monkeypatch.context() as full:
        full.setattr(shutil, "copytree", stopped)
        with pytest.raises(OSError, match="no space"):
            build.install(built, project.html)
    assert pages(project.html) == former
    build.install(built, project.html)
    assert pages(project.html) == {"index.html": "new", "sub/page.html": "new"}
    assert [path.name for path in project.build.iterdir()] == ["html"]
