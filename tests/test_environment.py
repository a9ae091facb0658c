"""The environment: what is declared, what is pinned and what is installed hold together."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PINS = {
    str(canonicalize_name(name)): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE
    )
}


def declared(*extras: str) -> list[Requirement]:
    """What this project asks for, with some of its extras."""
    project = PROJECT["project"]
    lines = [*project["dependencies"]]
    lines += [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


def required(names: list[Requirement]) -> Iterator[str]:
    """The names of all that is installed here because these need it, directly or through others."""
    waiting = [(str(canonicalize_name(r.name)), extra) for r in names for extra in {"", *r.extras}]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or not (found := list(metadata.distributions(name=name))):
            continue
        seen.add((name, extra))
        yield name
        for needed in map(Requirement, found[0].requires or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                other = str(canonicalize_name(needed.name))
                waiting += [(other, e) for e in {"", *needed.extras}]


def test_every_line_of_the_constraints_is_an_exact_pin() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) == len(PINS)
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_what_this_project_needs_is_installed_as_it_is_pinned() -> None:
    own = str(canonicalize_name(PROJECT["project"]["name"]))
    names = sorted(set(required([Requirement(f"{own}[test]")])) - {own})
    assert len(names) > 100
    # A CPU build of the same release will do.
    versions = {name: metadata.version(name).split("+")[0] for name in names}
    assert versions == {name: PINS.get(name) for name in names}


def test_everything_that_is_declared_is_pinned_within_its_bounds() -> None:
    for requirement in declared("lab", "book", "test", "cluster"):
        name = str(canonicalize_name(requirement.name))
        if name != "flatter-lib":
            assert requirement.specifier.contains(Version(PINS[name])), requirement


@pytest.mark.parametrize(
    ("extra", "name", "next_version"),
    [
        ("book", "jupyter-book", "2.0.0"),  # reads neither _config.yml nor _toc.yml
        ("test", "curvlinops-for-pytorch", "3.1.0"),  # takes parameters as a dictionary
    ],
)
def test_what_would_break_is_kept_out(extra: str, name: str, next_version: str) -> None:
    (found,) = [r for r in declared(extra) if r.name == name]
    assert not found.specifier.contains(next_version)


def test_what_the_checks_start_is_declared() -> None:
    plugins = {"nbval", "pytest-timeout", "pytest-xdist", "ruff", "mypy"}
    assert plugins <= {r.name for r in declared("test")}
    assert "psutil" in {r.name for r in declared("book")}  # ends what a command started


def test_extras_stand_on_each_other_and_on_a_small_core() -> None:
    core = {r.name for r in declared()}
    assert core == {"numpy", "torch"}  # tests/test_faces.py does without the rest
    assert "flatter-lib[book,cluster]" in [str(r) for r in declared("test")]
    for extra in ("book", "cluster"):
        assert "flatter-lib[lab]" in [str(r) for r in declared(extra)]


def test_conda_and_make_supply_the_same_python_and_pip_the_rest() -> None:
    *conda, pip = CONDA["dependencies"]
    (python,) = [line for line in conda if line.startswith("python=")]
    version, tools = python.removeprefix("python="), PROJECT["tool"]
    assert Version(version) in SpecifierSet(PROJECT["project"]["requires-python"])
    assert tools["mypy"]["python_version"] == version
    assert tools["ruff"]["target-version"] == f"py{version.replace('.', '')}"
    assert "pip" in conda
    assert pip == {"pip": ["--constraint constraints.txt", "--editable .[test]"]}
    # Nothing from conda that pip would install in another version.
    assert {line.split("=")[0] for line in conda} & set(PINS) == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "pip install --constraint constraints.txt --editable '.[test]'" in makefile
    assert f"({version.replace('.', ', ')})" in makefile


def make(*arguments: str, folder: Path = ROOT) -> str:
    # Only what needs no environment: a stamp that is not there would be made.
    command = ["make", "--file", str(ROOT / "Makefile"), "--directory", str(folder)]
    command += ["--no-print-directory", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert set(phony.split()) == targets >= {"book", "test", "help", "serve", "clean"}
    listed = dict(re.findall(r"^  make ([a-z-]+) +(.*)$", make("help"), flags=re.MULTILINE))
    assert set(listed) == targets
    assert all(listed.values())
    assert "FRESH=1" in make("help")
    assert make() == make("help")
    # Pages are served to this machine only.
    assert "http.server --bind 127.0.0.1 " in make("--dry-run", "serve")


def test_clean_keeps_the_environment_the_executed_chapters_and_own_runs(tmp_path: Path) -> None:
    kept = [".venv/ready", "book/chapters/a.ipynb", "_build/runs/mine.ipynb"]
    for name in [*kept, "_build/html/index.html", "_build/failed/a.ipynb", ".pytest_cache/a"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert "kept: your own runs, in _build/runs" in make("clean", folder=tmp_path)
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {tmp_path / name for name in kept}
    make("clean-runs", folder=tmp_path)
    assert list((tmp_path / "_build").iterdir()) == []
    assert "kept" not in make("clean", folder=tmp_path)


def test_line_ends_are_the_same_in_every_clone(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        windows = ["-c", "core.autocrlf=true", "-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *windows, *arguments], check=True, cwd=tmp_path, capture_output=True)

    names = ["run", "a.ipynb", "a.json", "a.jsonl", "a.md", "a.py", "a.svg", "a.yml"]
    git("init", "here")
    for name in names:
        (tmp_path / "here" / name).write_bytes(b"one\ntwo\n")
    shutil.copy(ROOT / ".gitattributes", tmp_path / "here")
    git("-C", "here", "add", ".")
    git("-C", "here", "commit", "-m", "A book")
    git("clone", "here", "there")
    assert {(tmp_path / "there" / name).read_bytes() for name in names} == {b"one\ntwo\n"}


def test_continuous_integration_runs_what_the_readme_gives() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.rstrip().endswith("\nmake test")
    for program in ("make", "git", "python3"):
        assert f"command -v {program} " in text, program


def test_every_test_is_collected() -> None:
    options = PROJECT["tool"]["pytest"]["ini_options"]
    for file in (file for start in options["testpaths"] for file in (ROOT / start).rglob("*.py")):
        for folder, pattern in itertools.product(
            file.relative_to(ROOT).parts, options["norecursedirs"]
        ):
            assert not fnmatch.fnmatch(folder, pattern), file
