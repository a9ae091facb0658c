"""Nobody's own configuration reaches an execution, and no other environment's kernel makes one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flatter_lib.publish import environment, execute, sources
from flatter_lib.publish.project import BookError, Chapter, FailedError, Project

LOOK = """\
```{code-cell} ipython3
import locale, os, sys, time
import matplotlib
1 + 1
print(matplotlib.rcParams["text.usetex"], matplotlib.rcParams["figure.dpi"], matplotlib.get_backend())
print(os.environ["TZ"], time.tzname, locale.setlocale(locale.LC_ALL, ""), sys.flags.optimize, hash("a"))
print("startup" in globals(), {"PYTHONSTARTUP", "PYTHONWARNINGS"} & set(os.environ))
print(get_ipython().history_manager.enabled, os.environ["OMP_NUM_THREADS"], os.environ["NO_COLOR"])
2 + 2
```
"""


def test_a_persons_own_configuration_does_not_reach_a_kernel(
    project: Project, toy: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "mine.py").write_text("startup = True\n")
    config = "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    (profile / "ipython_config.py").write_text(config)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 31\n")
    (tmp_path / "startup.py").write_text("startup = True\n")
    shell = {
        "IPYTHONDIR": tmp_path / "ipython",
        "LC_ALL": "tr_TR.UTF-8",
        "MATPLOTLIBRC": tmp_path,
        "MPLBACKEND": "svg",
        "OMP_NUM_THREADS": 7,
        "PYTHONHASHSEED": 7,
        "PYTHONOPTIMIZE": 2,
        "PYTHONSTARTUP": tmp_path / "startup.py",
        "PYTHONWARNINGS": "error",
        "TZ": "Asia/Kolkata",
    }
    for name, value in shell.items():
        monkeypatch.setenv(name, str(value))
    header, _, _ = toy.source.read_text().partition("# A toy chapter")
    toy.source.write_text(header + LOOK)
    before = dict(os.environ)
    (cell,) = sources.code_cells(execute.execute(project, toy).twin)
    printed, value = cell.outputs
    lines = printed.text.splitlines()
    assert lines[0] == "False 100.0 agg"
    assert lines[1].startswith("UTC ('UTC', 'UTC') C.UTF-8 0 ")
    assert lines[2:] == ["False set()", "False 1 1"]
    assert value.data == {"text/plain": "4"}
    assert dict(os.environ) == before


def kernel(folder: Path, python: str) -> None:
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "A kernel", "language": "python"}))


def test_a_kernel_of_another_environment_runs_nothing(
    project: Project, toy: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(tmp_path / "theirs", "/opt/theirs/bin/python")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "theirs"))
    with pytest.raises(BookError, match=r"another environment .*unset JUPYTER_PATH") as refused:
        execute.execute(project, toy)
    assert not isinstance(refused.value, FailedError)
    kernel(tmp_path / "ours", "python")  # whichever comes first
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "ours"))
    assert environment.kernel_problem() == ""
    monkeypatch.setattr(environment, "KERNEL_NAME", "no-such-kernel")
    problem = environment.kernel_problem()
    assert problem.startswith("no Jupyter kernel 'no-such-kernel' here: run `make book`")


def test_a_kernel_that_dies_at_its_start_is_said_in_one_line(
    project: Project, toy: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BookError, match=r"^toy: it could not be executed: Kernel died .*doctor\)$"):
        execute.execute(project, toy)
    assert not toy.twin.exists()
