"""The doctor: each thing looked at is right, or comes with its cure."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from flatter_lib.publish import datasets, doctor, provenance
from flatter_lib.publish.doctor import Diagnosis
from flatter_lib.publish.project import Project

Usage = namedtuple("Usage", "total used free")
Patch = pytest.MonkeyPatch


@pytest.fixture
def home(project: Project, monkeypatch: Patch) -> Project:
    """A checkout on a machine that has all there is, GPU included."""
    (project.root / ".git").mkdir()
    pins = f"numpy=={metadata.version('numpy')}\nno-such-package==1.0\n"
    (project.root / "constraints.txt").write_text(pins)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 2**40))
    monkeypatch.setattr(provenance, "kernel_problem", lambda: "")
    monkeypatch.setattr(datasets, "statuses", lambda: iter([("toys", True, "the root, in /toys")]))
    monkeypatch.setattr(datasets, "needed", lambda chapters: ["toys"])
    return project


SUBJECTS = ["git", "versions", "packages", "kernel", "data, toys", "disk", "GPU"]


def test_a_machine_that_has_it_all(home: Project) -> None:
    assert [(d.subject, d.state) for d in doctor.examine(home)] == [(s, "ok") for s in SUBJECTS]


def pinned(text: str) -> Callable[[Project, Patch], None]:
    return lambda home, _: (home.root / "constraints.txt").write_text(text) and None


def installed(patch: Patch) -> None:
    lines = ["numpy>=2", 'papermill>=2; extra == "book"', 'Under_Score<2; extra == "test"']
    lines += ['nowhere; extra == "dev"', 'no-dask[all]; extra == "cluster"']
    patch.setattr(metadata, "requires", lambda _: lines)
    patch.setattr(provenance, "installed", lambda: {"numpy": "2.0"})


@pytest.mark.parametrize(
    ("subject", "wrong", "state", "said"),
    [
        ("git", lambda home, _: (home.root / ".git").rmdir(), "note", "no git, or no clone: "),
        ("git", lambda _, patch: patch.setattr(shutil, "which", lambda _: None), "note", "no git, "),
        ("versions", pinned("numpy==0.1\nno-such==1.0\n"), "note", "1 differ, numpy "),
        ("packages", lambda _, patch: installed(patch), "missing", "not installed: papermill, under-score; python"),
        ("kernel", lambda _, p: p.setattr(provenance, "kernel_problem", lambda: "get one"), "missing", "get one"),
        ("data, toys", lambda _, p: p.setattr(datasets, "statuses", lambda: [("toys", False, "nowhere")]), "missing",
         "nowhere; flatter data get toys"),
        ("data, games", lambda _, p: p.setattr(datasets, "statuses", lambda: [("games", False, "nowhere")]), "note",
         "nowhere; flatter data get games"),
        ("disk", lambda _, patch: patch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**30)), "missing",
         "1.0 GiB free, less than 2: make room"),
        ("GPU", lambda _, patch: patch.setattr(shutil, "which", lambda _: None), "note", "none found: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_cure(
    home: Project,
    monkeypatch: Patch,
    subject: str,
    wrong: Callable[[Project, Patch], None],
    state: str,
    said: str,
) -> None:
    wrong(home, monkeypatch)
    found = list(doctor.examine(home))
    (about,) = [diagnosis for diagnosis in found if diagnosis.subject == subject]
    assert about == Diagnosis(subject, state, about.text)
    assert about.text.startswith(said)
    assert not any("\n" in diagnosis.text for diagnosis in found)
    assert (subject == "packages") == ("kernel" not in [d.subject for d in found])


def test_a_build_of_the_tested_version_is_that_version(home: Project, monkeypatch: Patch) -> None:
    class Installed:
        name, version = "Torch_Vision", "0.29.1+cpu"

    monkeypatch.setattr(metadata, "requires", lambda _: [])
    monkeypatch.setattr(metadata, "distributions", lambda: [Installed()])
    (home.root / "constraints.txt").write_text("torch-vision==0.29.1\n")
    assert {d.state for d in doctor.examine(home)} == {"ok"}


def test_this_machine_can_be_examined(monkeypatch: Patch) -> None:
    monkeypatch.setattr(datasets, "statuses", lambda: iter(()))
    found = doctor.examine(Project.find(Path(__file__).parent))
    assert {d.state for d in found} <= {"ok", "note", "missing"}
