"""Provenance: what an execution says of itself, and the kernel that may run one."""

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

KEYS = {
    "inputs",
    "parameters",
    "seconds",
    "executed",
    "commit",
    "modified",
    "versions",
    "device",
    "isa",
    "machine",
    "threads",
}


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A Reader", "-c", "user.email=reader@example.org"]
    command = ["git", "-C", str(root), *identity, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def described(project: Project) -> tuple[str, bool]:
    inputs = {
        "modules": {"flatter_lib": "", "flatter_lib.claims": ""},
        "records": {"toy.jsonl": ""},
    }
    found = provenance.describe(project, project.chapter("toy"), inputs, {}, 0.0)
    return found["commit"], found["modified"]


def test_an_execution_says_how_it_was_made(shelf: tuple[Project, Execution]) -> None:
    project, execution = shelf
    stored = json.loads(project.chapter("toy").provenance.read_text())
    assert stored == execution.provenance
    assert set(stored) == KEYS
    assert stored["parameters"] == {
        "runs": 8,
        "rate": 1e-3,
        "name": "a # b",
        "loud": False,
        "rates": [0.1, 0.2],
    }
    assert stored["seconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stored["executed"])
    assert stored["versions"]["python"] == platform.python_version()
    assert stored["versions"]["numpy"] == metadata.version("numpy")
    assert stored["versions"]["torch"] == metadata.version("torch")
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


def test_no_setting_of_git_changes_what_is_said(
    committed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(committed.root, "rev-parse", "HEAD")
    (committed.results / "toy.jsonl").parent.mkdir()
    (committed.results / "toy.jsonl").touch()
    (tmp_path / ".gitconfig").write_text(
        "[status]\nshowUntrackedFiles = no\nrelativePaths = true\n[color]\nui = always\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    before = {p: p.stat().st_mtime_ns for p in (committed.root / ".git").rglob("*")}
    assert described(committed) == (commit, True)
    assert {p: p.stat().st_mtime_ns for p in (committed.root / ".git").rglob("*")} == before


def test_a_checkout_of_another_owner_is_read_all_the_same(
    committed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(committed.root, "rev-parse", "HEAD")
    stranger = tmp_path / "bin" / "git"
    stranger.parent.mkdir()
    real = shutil.which("git")
    stranger.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    stranger.chmod(0o755)
    monkeypatch.setenv("PATH", str(stranger.parent), prepend=os.pathsep)
    asked = ["git", "-C", str(committed.root), "log"]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    assert described(committed) == (commit, False)


def test_a_kernel_that_only_says_python_is_this_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert provenance.kernel_problem() == ""


def test_a_missing_kernel_is_said_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "KERNEL_NAME", "no-such-kernel")
    problem = provenance.kernel_problem()
    assert problem.startswith("no Jupyter kernel 'no-such-kernel' here: run `make book`")
    assert "pip install ipykernel" in problem


@pytest.mark.parametrize("damaged", ["", "[]", '{"seconds": NaN}', '{"seconds": "long"}'])
def test_what_was_never_executed_took_no_known_time(project: Project, damaged: str) -> None:
    toy = project.chapter("toy")
    assert provenance.last_seconds(toy) is None
    toy.twin.parent.mkdir()
    toy.provenance.write_text(damaged)
    assert provenance.last_seconds(toy) is None
