"""The doctor: each thing looked at is right, or comes with its cure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from flatter_lib.publish import datasets, doctor, provenance
from flatter_lib.publish.doctor import Diagnosis
from flatter_lib.publish.project import Project

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def home(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout on a machine that has all there is, GPU included."""
    (project.root / ".git").mkdir()
    (project.root / "constraints.txt").write_text(
        f"numpy=={metadata.version('numpy')}\nno-such-package==1.0\n"
    )
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 2**40))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(provenance, "kernel_problem", lambda: "")
    monkeypatch.setattr(datasets, "statuses", lambda: iter([("toys", True, "the root, in /toys")]))
    answered = subprocess.CompletedProcess([], 0, "Some GPU\nAnother GPU\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answered)
    return project


def about(project: Project, subject: str) -> Diagnosis:
    (found,) = [d for d in doctor.examine(project) if d.subject == subject]
    return found


def test_a_machine_that_has_it_all(home: Project) -> None:
    found = doctor.examine(home)
    assert [(d.subject, d.state) for d in found] == [
        ("git", "ok"),
        ("environment", "ok"),
        ("versions", "ok"),
        ("packages", "ok"),
        ("kernel", "ok"),
        ("data, toys", "ok"),
        ("disk", "ok"),
        ("browser", "ok"),
        ("GPU", "ok"),
    ]
    assert found[-1].text == "Some GPU, Another GPU"
    assert found[5].text == "the root, in /toys"


def test_every_diagnosis_is_one_line(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for diagnosis in doctor.examine(home):
        assert diagnosis.text
        assert "\n" not in diagnosis.text


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in names else f"/bin/{name}")


def test_without_git(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "git")
    assert about(home, "git").state == "note"
    assert "install git" in about(home, "git").text


def test_outside_a_clone(home: Project) -> None:
    (home.root / ".git").rmdir()
    assert about(home, "git").state == "note"
    assert "no clone" in about(home, "git").text


def test_outside_an_environment(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert about(home, "environment").state == "note"
    assert "`make book` makes one" in about(home, "environment").text


def test_another_version_than_the_tested_one(home: Project) -> None:
    numpy, yaml = metadata.version("numpy"), metadata.version("pyyaml")
    (home.root / "constraints.txt").write_text(f"numpy==0.1\nPyYAML=={yaml}\nno-such==1.0\n")
    found = about(home, "versions")
    assert found.state == "note"
    assert (
        f"1 differ, numpy {numpy} (tested: 0.1): `make clean-venv`, then `make book`" in found.text
    )


def test_a_build_of_the_tested_version_is_that_version(
    home: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        name, version = "Torch_Vision", "0.29.1+cpu"

    monkeypatch.setattr(metadata, "distributions", lambda: [Installed()])
    (home.root / "constraints.txt").write_text("torch-vision==0.29.1\n")
    assert about(home, "versions").state == "ok"


def test_a_core_install_is_told_what_it_lacks(
    home: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["numpy>=2", 'papermill>=2; extra == "book"', 'Under_Score<2; extra == "test"']
    lines += [
        'nowhere; extra == "dev"',
        'no-dask[all]; extra == "cluster"',
        'numpy; extra == "book"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    monkeypatch.setattr(provenance, "installed", lambda: {"numpy": "2.0"})
    assert about(home, "packages") == Diagnosis(
        "packages",
        "missing",
        "not installed: papermill, under-score; "
        "python -m pip install --constraint constraints.txt --editable '.[test]'",
    )
    assert {d.subject for d in doctor.examine(home)} & {"kernel", "data, toys"} == set()


def test_a_kernel_that_is_wrong(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "kernel_problem", lambda: "no kernel: install one")
    assert about(home, "kernel") == Diagnosis("kernel", "missing", "no kernel: install one")


def test_data_that_are_missing(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [("toys", False, "nowhere"), ("games", False, "nowhere")]
    monkeypatch.setattr(datasets, "statuses", lambda: iter(absent))
    monkeypatch.setattr(datasets, "needed", lambda chapters: ["toys"])
    found = about(home, "data, toys")
    assert found == Diagnosis("data, toys", "missing", "nowhere; flatter data get toys")
    assert about(home, "data, games").state == "note", "no chapter needs them"


def test_a_full_disk(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**30))
    found = about(home, "disk")
    assert found == Diagnosis("disk", "missing", "1.0 GiB free, less than 2: make room")


def test_without_a_browser_or_with_any(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *doctor.BROWSERS)
    assert about(home, "browser").state == "note"
    without(monkeypatch, *doctor.BROWSERS[:-1])
    assert about(home, "browser").text.startswith("firefox")


def test_without_a_gpu(home: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "nvidia-smi")
    assert about(home, "GPU").state == "note"
    assert "runs on a CPU" in about(home, "GPU").text


@pytest.mark.parametrize(("status", "said"), [(9, "Some GPU"), (0, ""), (0, "\n")])
def test_a_gpu_that_does_not_answer(
    home: Project, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    answer = subprocess.CompletedProcess([], status, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert about(home, "GPU") == Diagnosis(
        "GPU", "note", "nvidia-smi does not answer: check the driver"
    )


def test_this_machine_can_be_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Project.find(Path(__file__).parent)
    nothing: list[Any] = []
    monkeypatch.setattr(datasets, "statuses", lambda: iter(nothing))
    assert {d.state for d in doctor.examine(checkout)} <= {"ok", "note", "missing"}
