"""What code a result stands on: all that runs, and nothing that does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flatter_lib.fingerprint import closure, commit

FILES = {
    "__init__.py": "",
    "low.py": '"""The lowest."""\nNUMBER = 1\n',
    "middle/__init__.py": "",
    "middle/one.py": "from ..low import NUMBER\n",
    "middle/two.py": "from . import one\n",
    "late.py": "def f():\n    import tower.low\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tower.late\n",
    "top.py": "import numpy\nfrom tower.middle import two\n",
    "face/__init__.py": "from typing import TYPE_CHECKING\nfrom tower import late\nif TYPE_CHECKING:\n"
    "    from tower.face.wine import red, white\n    from tower.face.beer import dark\n",
    "face/wine.py": "from tower.low import NUMBER\n",
    "face/beer.py": "import tower.middle.one\n",
}


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "tower" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tower"


def modules(tower: Path, name: str) -> list[str]:
    return [found.removeprefix("tower.") for found in closure({"tower": tower}, [f"tower.{name}"])]


def test_what_is_used_directly_or_through_others(tower: Path) -> None:
    assert modules(tower, "top") == ["tower", "low", "middle", "middle.one", "middle.two", "top"]
    assert modules(tower, "late") == ["tower", "late", "low"]
    assert modules(tower, "typed") == ["tower", "typed"]


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from tower.face import red", ["face.wine"]),
        ("from tower.face import dark as d, white", ["face.beer", "face.wine"]),
        ("from tower.face import wine", ["face.wine"]),
        ("import tower.face.wine", ["face.wine"]),
        ("from tower.face.beer import dark", ["face.beer"]),
        ("from tower import face", ["face.beer", "face.wine"]),
        ("import tower.face as f", ["face.beer", "face.wine"]),
        ("from tower.face import *", ["face.beer", "face.wine"]),
        ("from .face import red", ["face.wine"]),
    ],
)
def test_a_name_of_a_face_stands_for_the_module_it_lives_in(
    tower: Path, code: str, used: list[str]
) -> None:
    (tower / "user.py").write_text(f"{code}\n")
    assert [name for name in modules(tower, "user") if name.startswith("face.")] == used
    assert {"tower", "face", "late", "low", "user"} <= set(modules(tower, "user"))


def test_what_changes_a_hash(tower: Path) -> None:
    before = closure({"tower": tower}, ["tower.top"])
    for text in ('"""Another."""\nNUMBER = 1  # a comment\n', "NUMBER   =   1\n"):
        (tower / "low.py").write_text(text)
        assert closure({"tower": tower}, ["tower.top"]) == before
    (tower / "low.py").write_text("NUMBER = 2\n")
    after = closure({"tower": tower}, ["tower.top"])
    assert [name for name in after if after[name] != before[name]] == ["tower.low"]


def test_the_code_of_a_packages_init_counts(tower: Path) -> None:
    before = closure({"tower": tower}, ["tower.top"])
    (tower / "middle" / "__init__.py").write_text("NUMBER = 1\n")
    after = closure({"tower": tower}, ["tower.top"])
    assert [name for name in after if after[name] != before[name]] == ["tower.middle"]


def test_a_deleted_module_is_gone(tower: Path) -> None:
    before = closure({"tower": tower}, ["tower.top"])
    (tower / "low.py").unlink()
    assert before.keys() - closure({"tower": tower}, ["tower.top"]).keys() == {"tower.low"}


def test_what_is_no_python(tower: Path) -> None:
    (tower / "low.py").write_text("NUMBER =\n")
    with pytest.raises(SyntaxError) as caught:
        closure({"tower": tower}, ["tower.top"])
    assert str(caught.value.filename).endswith("low.py")


def test_the_commit(tower: Path) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-C", str(tower), "-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    assert commit(tower) == ""
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "All of it")
    clean = commit(tower)
    assert len(clean) == 40
    (tower / "notes.txt").write_text("no code")
    assert commit(tower) == clean
    (tower / "low.py").write_text("NUMBER = 2\n")
    assert commit(tower) == f"{clean}+"
