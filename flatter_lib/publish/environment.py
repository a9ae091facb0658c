"""What every execution of a chapter runs under, whoever starts it and however their machine is set up."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KERNEL_NAME = "python3"
#: How many threads each numerical library gets.
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
#: What would reach into a kernel, or into pytest, from the shell of whoever starts it.
_UNSET = (
    "FORCE_COLOR",
    "IPYTHON_DIR",
    "JUPYTER_CONFIG_PATH",
    "LANGUAGE",
    "PYTEST_ADDOPTS",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD",
    "PYTEST_PLUGINS",
    "PYTHONOPTIMIZE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)


def environment(threads: int = 1, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of an execution: so many threads, one locale and clock, nobody's own configuration.

    Args:
        threads: how many threads each numerical library gets.
        more: variables to set besides.

    Returns:
        This process's variables, but for those. The folders that they name last as long as this process.

    Examples:
        >>> found = environment(threads=2, more={"MKL_CBWR": "AVX2"})
        >>> found["OMP_NUM_THREADS"], found["TZ"], found["MKL_CBWR"], "PYTHONSTARTUP" in found
        ('2', 'UTC', 'AVX2', False)
    """
    folder = Path(_folder().name)
    return {
        **{name: value for name, value in os.environ.items() if name not in _UNSET},
        **dict.fromkeys(_THREADS, str(threads)),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        # An empty file means matplotlib's defaults; its cache of fonts stays where it is.
        "MATPLOTLIBRC": str(folder / "matplotlibrc"),
        "MPLBACKEND": "agg",
        "NO_COLOR": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        **(more or {}),
    }


@contextmanager
def under(variables: Mapping[str, str]) -> Iterator[None]:
    """Makes these the only variables of this process, for as long as what runs inside."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def kernel_problem() -> str:
    """What is wrong with the kernel that would run the chapters, in one line with its cure; empty if nothing is."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        command = Path(KernelSpecManager().get_kernel_spec(KERNEL_NAME).argv[0])
    except NoSuchKernel:
        return (
            f"no Jupyter kernel {KERNEL_NAME!r} here: run `make book`, which sets up the environment, "
            "or `python -m pip install ipykernel` in it"
        )
    if command.is_absolute() and command.parent.parent != Path(sys.prefix):
        return (
            f"the kernel {KERNEL_NAME!r} belongs to another environment ({command.parent.parent}): "
            "unset JUPYTER_PATH, or remove that kernel with `jupyter kernelspec remove python3`"
        )
    return ""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Empty configurations, removed when this process ends."""
    made = tempfile.TemporaryDirectory(prefix="flatter-configuration-")
    profile = Path(made.name) / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    # Kernels that run at once would wait for each other at one history.
    (profile / "ipython_kernel_config.py").write_text("c.HistoryManager.enabled = False\n")
    (Path(made.name) / "matplotlibrc").touch()
    return made
