"""Nobody's own configuration reaches an execution."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flatter_lib.publish import execute, sources
from flatter_lib.publish.project import Chapter, Project

LOOK = """\
```{code-cell} ipython3
import locale, os, sys, time
import matplotlib
1 + 1
print(matplotlib.rcParams["text.usetex"], matplotlib.rcParams["figure.dpi"], matplotlib.get_backend())
print(os.environ["TZ"], time.tzname, locale.setlocale(locale.LC_ALL, ""), sys.flags.optimize, hash("a"))
print("startup" in globals(), {"PYTHONSTARTUP", "PYTHONWARNINGS"} & set(os.environ))
print(get_ipython().history_manager.enabled)
2 + 2
```
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own configuration of everything, in their home and in their shell."""
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "mine.py").write_text("startup = True\n")
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    )
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 31\n")
    (tmp_path / "startup.py").write_text("startup = True\n")
    shell = {
        "IPYTHONDIR": tmp_path / "ipython",
        "LC_ALL": "tr_TR.UTF-8",
        "MATPLOTLIBRC": tmp_path,
        "MPLBACKEND": "svg",
        "PYTHONHASHSEED": 7,
        "PYTHONOPTIMIZE": 2,
        "PYTHONSTARTUP": tmp_path / "startup.py",
        "PYTHONWARNINGS": "error",
        "TZ": "Asia/Kolkata",
    }
    for name, value in shell.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def test_a_persons_own_configuration_does_not_reach_a_kernel(
    project: Project, toy: Chapter, mine: Path
) -> None:
    header, _, _ = toy.source.read_text().partition("# A toy chapter")
    toy.source.write_text(header + LOOK)
    before = dict(os.environ)
    (cell,) = sources.code_cells(execute.execute(project, toy).twin)
    printed, value = cell.outputs
    lines = printed.text.splitlines()
    assert lines[0] == "False 100.0 agg"
    assert lines[1].startswith("UTC ('UTC', 'UTC') C.UTF-8 0 ")
    assert lines[2] == "False set()"
    assert lines[3] == "False"
    assert value.data == {"text/plain": "4"}
    assert dict(os.environ) == before
