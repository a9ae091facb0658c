"""What holds of the command before its own modules are loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: What `pip install` of the package alone does not bring, or might not.
EXTRAS = (
    "jupytext",
    "papermill",
    "nbformat",
    "ipykernel",
    "jupyter_client",
    "nbval",
    "typer",
    "rich",
)


ROOT = Path(__file__).parent.parent


def flatter(
    without: tuple[str, ...], folder: Path, *arguments: str, before: str = ""
) -> tuple[int, str, str]:
    """The command line where some packages cannot be imported."""
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        f"{before}"
        f"sys.argv = ['flatter', *{arguments!r}]\n"
        "from flatter_lib.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["chapters", "check", "--help"])
def test_a_core_install_says_what_is_missing_in_a_line(command: str) -> None:
    status, out, err = flatter(EXTRAS, ROOT, *command.split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("flatter: typer is not installed, which this command needs: `make book`")
    if command not in ("--help", "check"):
        status, out, err = flatter(EXTRAS[:-2], ROOT, *command.split())
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "pip install --constraint constraints.txt --editable '.[test]'" in err


def test_the_doctor_of_a_core_install_examines_it() -> None:
    core = "import flatter_lib.publish.provenance as p; p.installed = lambda: {'numpy': '2'}\n"
    status, out, err = flatter((*EXTRAS[:-2], "torch"), ROOT, "doctor", before=core)
    assert (status, err) == (1, "")
    assert "packages: not installed: " in out
    assert " papermill" in out


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours() -> None:
    status, _, err = flatter(("flatter_lib.publish.cli",), ROOT, "chapters")
    assert status == 1
    assert "Traceback" in err
