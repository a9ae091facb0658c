"""The faces of packages: every name is there, loaded alone, and says what to install where it cannot be."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
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


def loaded(*codes: str, without: Sequence[str] = ()) -> list[Any]:
    """What pieces of code load, one after another in a new interpreter: the modules, or the error's line."""
    script = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        "import numpy\n"
        f"for code in {codes!r}:\n"
        "    before = set(sys.modules)\n"
        "    try:\n"
        "        exec(code)\n"
        "        print(json.dumps(sorted(k for k, v in sys.modules.items() if v and k not in before)))\n"
        "    except ImportError as error:\n"
        "        print(json.dumps(f'{type(error).__name__}: {error}'))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=LIBRARY.parent)
    assert not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("package", FACES)
def test_every_name_of_a_face_is_there(package: str) -> None:
    face = importlib.import_module(package)
    assert dir(face) == sorted(face.__all__)
    for name in face.__all__:
        value = getattr(face, name)
        if not isinstance(value, tuple | dict):  # a constant does not say where it lives
            assert value.__name__ == name
            assert value.__module__.startswith(f"{package}.")
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Scaled'"):
        getattr(face, "Scaled")  # noqa: B009 (mypy sees that it is missing)


def test_these_packages_have_one() -> None:
    assert {
        f"flatter_lib.{p}" for p in ("ensemble", "heavy_ball", "nqm", "valleys", "vision")
    } <= set(FACES)


def test_a_plain_install_has_the_core_and_names_what_it_lacks() -> None:
    formulas, torch, scheduler, *lacking = loaded(
        "from flatter_lib import heavy_ball; heavy_ball.effective_lr(0.1, 0.9)",
        "import torch",
        "from flatter_lib.heavy_ball import ScaledMomentum",
        "from flatter_lib.nqm import tune",
        "from flatter_lib.valleys import ScalarValley",
        without=lab(),
    )
    modules = ("", ".checks", ".faces", ".heavy_ball", ".heavy_ball.modes")
    own = [name for name in formulas if not name.startswith("numpy.")]
    assert own == [f"flatter_lib{module}" for module in modules]
    assert "torch" in torch
    assert scheduler == ["flatter_lib.heavy_ball.rule", "flatter_lib.heavy_ball.scheduler"]
    for name, said in zip(("nqm.tune", "valleys.ScalarValley"), lacking, strict=True):
        start, cure = f"ModuleNotFoundError: flatter_lib.{name} needs ", "'flatter-lib[lab]'"
        needed, _, told = said.removeprefix(start).partition(": ")
        assert (needed in lab(), told) == (True, f"python -m pip install {cure}")


def test_a_name_comes_without_the_rest_and_the_command_line_without_torch() -> None:
    commands, name = loaded(
        "import flatter_lib.publish.cli", "from flatter_lib.valleys import MatrixSensing"
    )
    assert "torch" not in commands
    home = "flatter_lib.valleys"
    assert [module for module in name if module.startswith(home)] == [
        home,
        f"{home}.interpolation",
        f"{home}.problem",
        f"{home}.sensing",
    ]


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours() -> None:
    (said,) = loaded("from flatter_lib.nqm import tune", without=["flatter_lib.nqm.tuning"])
    assert said.startswith("ModuleNotFoundError: ")
    assert "pip install" not in said


def test_other_code_is_no_face() -> None:
    assert faces.homes(ast.parse("from a.b import c\nif x:\n    from d import e")) == {}
