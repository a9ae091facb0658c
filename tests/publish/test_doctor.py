"""The doctor: each thing looked at is right, or comes with its cure."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from flatter_lib.publish import datasets, doctor, provenance
from flatter_lib.publish.project import Project

Usage = namedtuple("Usage", "total used free")
Patch = pytest.MonkeyPatch
TOYS, GAMES = SimpleNamespace(name="toys"), SimpleNamespace(name="games")


@pytest.fixture
def home(project: Project, monkeypatch: Patch) -> Project:
    """A checkout on a machine that has all there is, GPU included."""
    (project.root / ".git").mkdir()
    pins = f"numpy=={metadata.version('numpy').split('+')[0]}\nno-such-package==1.0\n"
    (project.root / "constraints.txt").write_text(pins)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 2**40))
    monkeypatch.setattr(doctor, "kernel_problem", lambda: "")
    monkeypatch.setattr(datasets, "statuses", lambda: iter([(TOYS, True, "the root, in /toys")]))
    monkeypatch.setattr(datasets, "needed", lambda chapters: ["toys"])
    return project


def test_a_machine_that_has_it_all(home: Project) -> None:
    found = {diagnosis.subject: diagnosis.problem for diagnosis in doctor.examine(home)}
    subjects = ["git", "versions", "packages", "kernel", "data, toys", "disk", "GPU"]
    assert found == dict.fromkeys(subjects, "")


def pinned(text: str) -> Callable[[Project, Patch], None]:
    return lambda home, _: (home.root / "constraints.txt").write_text(text) and None


def installed(_: Project, patch: Patch) -> None:
    lines = ["numpy>=2", 'papermill>=2; extra == "book"', 'Under_Score<2; extra == "test"']
    lines += ['nowhere; extra == "dev"', 'no-dask[all]; extra == "cluster"']
    patch.setattr(metadata, "requires", lambda _: lines)
    patch.setattr(provenance, "installed", lambda: {"numpy": "2.0"})


@pytest.mark.parametrize(
    ("subject", "wrong", "needed", "said"),
    [
        ("git", lambda home, _: (home.root / ".git").rmdir(), False, "no git, or no clone: "),
        ("versions", pinned("numpy==0.1\nno-such==1.0\n"), False, "1 differ, numpy "),
        ("packages", installed, True, "not installed: papermill, under-score; python"),
        ("kernel", lambda _, p: p.setattr(doctor, "kernel_problem", lambda: "get one"), True, "get one"),
        ("data, toys", lambda _, p: p.setattr(datasets, "statuses", lambda: [(TOYS, False, "nowhere")]), True,
         "nowhere; flatter data get toys"),
        ("data, games", lambda _, p: p.setattr(datasets, "statuses", lambda: [(GAMES, False, "nowhere")]), False,
         "nowhere; flatter data get games"),
        ("disk", lambda _, p: p.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**30)), True,
         "1.0 GiB free, less than 2: make room"),
        ("GPU", lambda _, p: p.setattr(shutil, "which", lambda _: None), False, "none found: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_cure(
    home: Project,
    monkeypatch: Patch,
    subject: str,
    wrong: Callable[[Project, Patch], None],
    needed: bool,
    said: str,
) -> None:
    wrong(home, monkeypatch)
    found = {diagnosis.subject: diagnosis for diagnosis in doctor.examine(home)}
    assert found[subject].problem.startswith(said)
    assert found[subject].needed == needed
    assert (subject == "packages") == ("kernel" not in found)


def test_this_machine_can_be_examined(monkeypatch: Patch) -> None:
    monkeypatch.setattr(datasets, "statuses", lambda: iter(()))
    found = {d.subject: d for d in doctor.examine(Project.find(Path(__file__).parent))}
    # The CPU's build of a package is that version of it.
    assert found["packages"].problem == found["versions"].problem == ""
