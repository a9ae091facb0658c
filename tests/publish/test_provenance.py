"""Provenance: what an execution says of itself."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from flatter_lib.publish import machines, provenance
from flatter_lib.publish.execute import Execution
from flatter_lib.publish.project import Project


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A Reader", "-c", "user.email=reader@example.org"]
    command = ["git", "-C", str(root), *identity, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def described(project: Project) -> tuple[str, bool]:
    modules = {"flatter_lib": "", "flatter_lib.claims": ""}
    inputs = {"modules": modules, "records": {"toy.jsonl": ""}}
    found = provenance.describe(project, project.chapter("toy"), inputs, {}, 0.0)
    return found["commit"], found["modified"]


def test_an_execution_says_how_it_was_made(shelf: tuple[Project, Execution]) -> None:
    project, execution = shelf
    stored = json.loads(project.chapter("toy").provenance.read_text())
    assert stored == execution.provenance
    assert stored["parameters"] == {
        "runs": 8,
        "rate": 1e-3,
        "name": "a # b",
        "loud": False,
        "rates": [0.1, 0.2],
    }
    assert stored["seconds"] == provenance.seconds(project.chapter("toy")) > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stored["executed"])
    assert stored["versions"]["python"] == platform.python_version()
    assert stored["versions"]["numpy"] == metadata.version("numpy")
    assert set(stored["versions"]) <= {"python", *provenance.PACKAGES}
    assert (stored["device"], stored["threads"]) == ("cpu", 1)
    assert re.fullmatch(r"\w+ \w+, \d+ cores, .+", stored["machine"])
    assert stored["isa"] == machines.current()
    text = json.dumps(stored)
    assert str(project.root) not in text
    assert platform.node() not in text


@pytest.fixture
def committed(project: Project) -> Project:
    """A book under version control."""
    git(project.root, "init", "-q")
    assert described(project) == ("not under version control", False)  # nothing is committed yet
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "A book")
    return project


@pytest.mark.parametrize(
    ("file", "modified"),
    [
        ("book/source/toy.md", True),
        ("flatter_lib/claims.py", True),
        ("book/results/toy.jsonl", True),
        ("flatter_lib/unrelated.py", False),
        ("book/chapters/toy.ipynb", False),
    ],
)
def test_the_commit_and_whether_what_it_was_computed_from_is_as_committed(
    committed: Project, file: str, modified: bool
) -> None:
    commit = git(committed.root, "rev-parse", "HEAD")
    assert described(committed) == (commit, False)
    path = committed.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert described(committed) == (commit, modified)


def test_neither_settings_of_git_nor_another_owner_change_what_is_said(
    committed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(committed.root, "rev-parse", "HEAD")
    (committed.results / "toy.jsonl").parent.mkdir()
    (committed.results / "toy.jsonl").touch()
    (tmp_path / ".gitconfig").write_text(
        "[status]\nshowUntrackedFiles = no\nrelativePaths = true\n[color]\nui = always\n"
    )
    stranger = tmp_path / "bin" / "git"
    stranger.parent.mkdir()
    real = shutil.which("git")
    stranger.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    stranger.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("PATH", str(stranger.parent), prepend=os.pathsep)
    before = {p: p.stat().st_mtime_ns for p in (committed.root / ".git").rglob("*")}
    assert described(committed) == (commit, True)
    assert {p: p.stat().st_mtime_ns for p in (committed.root / ".git").rglob("*")} == before


@pytest.mark.parametrize("damaged", ["", "[]", '{"seconds": "long"}', "[" * 100000])
def test_what_was_never_executed_took_no_known_time(project: Project, damaged: str) -> None:
    toy = project.chapter("toy")
    assert provenance.seconds(toy) == 0
    toy.twin.parent.mkdir()
    toy.provenance.write_text(damaged)
    assert provenance.seconds(toy) == 0
