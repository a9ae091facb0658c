"""Imports go one way: a module of ``flatter_lib`` stands only on the floors above its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from flatter_lib.publish.project import Project

PACKAGE = "flatter_lib"
LIBRARY = Project.find(Path(__file__).parent).library

#: Each floor may import from those before it, and from nothing after it; two names of one floor not from each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("faces",),  # what a package's __init__ is made of
    ("checks",),
    ("files",),  # how a file is replaced
    ("compiled",),
    ("heavy_ball",),
    ("stats",),
    ("advice",),  # when momentum pays
    ("nqm", "least_squares"),
    ("valleys",),
    ("ensemble",),
    ("curvature",),
    ("vision", "text"),
    ("kfac",),
    ("fingerprint",),  # what code a result was computed with
    ("machine",),  # what a result was computed on
    ("experiments",),
    ("evidence",),
    ("notebook",),  # how a value travels in the output of a cell
    ("values",),
    ("claims",),
    ("figures",),
    ("publish",),
    ("__main__",),
)
#: What an ``__init__`` that is a face imports beside the package's own modules.
OF_FACES = ("flatter_lib.faces", "typing.TYPE_CHECKING")
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}


def broken(library: Path) -> list[str]:
    """Every import that goes the wrong way, every module without a floor, every ``__init__`` that imports."""
    found = []
    for path in sorted(library.rglob("*.py")):
        module = dotted(library, path)
        imports = sorted(set(imported(library, path)))
        if path.name == "__init__.py":
            foreign = [n for n in imports if not n.startswith(f"{module}.") and n not in OF_FACES]
            found += [f"{module}: an __init__ is a face, and imports {n}" for n in foreign]
        floor = floor_of(module)
        if not floor:
            continue
        if floor not in RANK:
            found.append(f"{module}: {floor} is on no floor")
            continue
        for name in imports:
            other = floor_of(name)
            if other and other != floor and RANK.get(other, len(FLOORS)) >= RANK[floor]:
                found.append(f"{module}: imports {name}, which is not above it")
    return found


def floor_of(module: str) -> str:
    """The floor that a module belongs to; empty for the package itself and for others' modules."""
    head, *rest = module.split(".")
    return rest[0] if head == PACKAGE and rest else ""


def dotted(library: Path, path: Path) -> str:
    """A file's module."""
    parts = path.relative_to(library.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(library: Path, path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or in a function, for running or for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (name for node in ast.walk(tree) for name in names_of(library, path, node))


def names_of(library: Path, path: Path, node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports; none if it is no import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module != "__future__":
        package = dotted(library, path.parent / "__init__.py").split(".")
        base = package[: len(package) - node.level + 1] if node.level else []
        base += node.module.split(".") if node.module else []
        yield from (".".join([*base, alias.name]) for alias in node.names)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    files = {
        "__init__.py": '"""A library."""\n',
        "__main__.py": "from flatter_lib.publish import cli\n",
        "heavy_ball.py": "import math\n",
        "valleys/__init__.py": "",
        "valleys/scalar.py": "from flatter_lib.heavy_ball import is_stable\nfrom .diagonal import f\n",
        "valleys/diagonal.py": "import flatter_lib.heavy_ball\n",
        "publish/__init__.py": "",
        "publish/cli.py": "from flatter_lib import figures\n",
        "figures.py": "from numpy import array\n",
    }
    root = tmp_path / PACKAGE
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_imports_go_one_way() -> None:
    assert broken(LIBRARY) == []


def test_a_sound_library(library: Path) -> None:
    assert broken(library) == []


@pytest.mark.parametrize(
    ("file", "text", "target"),
    [
        ("heavy_ball.py", "import flatter_lib.valleys.scalar", "valleys.scalar"),
        ("heavy_ball.py", "from flatter_lib import figures", "figures"),
        ("heavy_ball.py", "from .valleys import scalar", "valleys.scalar"),
        (
            "figures.py",
            "def f():\n    from flatter_lib.publish.cli import main",
            "publish.cli.main",
        ),
        ("valleys/scalar.py", "if TYPE_CHECKING:\n    from .. import figures", "figures"),
        ("text.py", "from flatter_lib.vision import data", "vision.data"),
    ],
)
def test_an_import_that_goes_down(library: Path, file: str, text: str, target: str) -> None:
    (library / file).write_text(text)
    module = dotted(library, library / file)
    assert broken(library) == [f"{module}: imports flatter_lib.{target}, which is not above it"]


def test_a_module_on_no_floor(library: Path) -> None:
    (library / "utils").mkdir()
    (library / "utils" / "misc.py").write_text("")
    (library / "figures.py").write_text("import flatter_lib.utils.misc")
    assert broken(library) == [
        "flatter_lib.figures: imports flatter_lib.utils.misc, which is not above it",
        "flatter_lib.utils.misc: utils is on no floor",
    ]


@pytest.mark.parametrize("package", ["", "valleys/"])
def test_an_init_that_imports(library: Path, package: str) -> None:
    (library / package / "__init__.py").write_text("from math import pi")
    module = dotted(library, library / package / "__init__.py")
    assert broken(library) == [f"{module}: an __init__ is a face, and imports math.pi"]
