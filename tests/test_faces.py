"""The faces of packages: every name is there, loaded alone, and says what to install where it cannot be."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import flatter_lib
from flatter_lib import faces

LIBRARY = Path(flatter_lib.__file__).parent
FACES = [
    f"flatter_lib.{path.parent.relative_to(LIBRARY).as_posix().replace('/', '.')}"
    for path in sorted(LIBRARY.rglob("__init__.py"))
    if "faces.lazy(" in path.read_text(encoding="utf-8")
]
#: The modules of what the extra `lab` brings, whose names are not those of their packages.
MODULES = {"pillow": "PIL", "pyyaml": "yaml"}


def lab() -> list[str]:
    """What a plain install lacks, as it is imported."""
    project = tomllib.loads((LIBRARY.parent / "pyproject.toml").read_text(encoding="utf-8"))
    names = [line.partition(">")[0] for line in project["project"]["optional-dependencies"]["lab"]]
    return [MODULES.get(name, name) for name in names]


def loaded(code: str, *without: str) -> Any:
    """The modules that a new interpreter has after the code beside those of before, or the error's line."""
    script = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        "import numpy\n"
        "try:\n"
        f"    {code}\n"
        "    print(json.dumps(sorted(k for k, v in sys.modules.items() if v and k not in before)))\n"
        "except ImportError as error:\n"
        "    print(json.dumps(f'{type(error).__name__}: {error}'))\n"
    ).replace("try:", "before = set(sys.modules)\ntry:", 1)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=LIBRARY.parent)
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("package", FACES)
def test_every_name_of_a_face_is_there(package: str) -> None:
    face = importlib.import_module(package)
    assert dir(face) == sorted(face.__all__)
    for name in face.__all__:
        value = getattr(face, name)
        assert value.__name__ == name
        assert value.__module__.startswith(f"{package}.")
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Scaled'"):
        getattr(face, "Scaled")  # noqa: B009 (mypy sees that it is missing)


def test_these_packages_have_one() -> None:
    assert {
        f"flatter_lib.{p}" for p in ("ensemble", "heavy_ball", "nqm", "valleys", "vision")
    } <= set(FACES)


def test_a_plain_install_has_the_scheduler_and_loads_nothing_else_beside_torch() -> None:
    own = loaded(
        "import torch; before = set(sys.modules); from flatter_lib.heavy_ball import ScaledMomentum",
        *lab(),
    )
    modules = ("", ".checks", ".faces", ".heavy_ball", ".heavy_ball.modes", ".heavy_ball.rule")
    own = [name for name in own if not name.startswith("numpy.")]
    assert own == sorted(f"flatter_lib{m}" for m in (*modules, ".heavy_ball.scheduler"))


def test_neither_formulas_nor_the_command_line_wait_for_torch() -> None:
    code = "from flatter_lib import heavy_ball; heavy_ball.effective_lr(0.1, 0.9)"
    assert "torch" not in loaded(code, *lab())
    assert "torch" not in loaded("import flatter_lib.publish.cli")
    assert "torch" in loaded("from flatter_lib.heavy_ball import ScaledMomentum")


def test_a_name_comes_without_the_rest_of_its_package() -> None:
    own = [
        m for m in loaded("from flatter_lib.valleys import MatrixSensing") if "flatter_lib.v" in m
    ]
    home = "flatter_lib.valleys"
    assert own == [home, f"{home}.interpolation", f"{home}.problem", f"{home}.sensing"]


@pytest.mark.parametrize(
    ("package", "name"), [("nqm", "tune"), ("valleys", "ScalarValley"), ("ensemble", "run")]
)
def test_what_a_plain_install_lacks_is_named_with_what_to_install(package: str, name: str) -> None:
    said = loaded(f"from flatter_lib.{package} import {name}", *lab())
    start = f"ModuleNotFoundError: flatter_lib.{package}.{name} needs "
    assert said.startswith(start)
    needed = said.removeprefix(start)
    assert needed.endswith(": python -m pip install 'flatter-lib[lab]'")
    assert needed.partition(":")[0] in lab()


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours() -> None:
    said = loaded("from flatter_lib.nqm import tune", "flatter_lib.nqm.tuning")
    assert "pip install" not in said


def test_other_code_is_no_face() -> None:
    import ast

    assert faces.homes(ast.parse("from a.b import c\nif x:\n    from d import e")) == {}
