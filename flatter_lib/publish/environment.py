"""What every execution of a chapter runs under, whoever starts it and however their machine is set up."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
#: What would reach into a kernel from the shell of whoever starts it.
_UNSET = (
    "FORCE_COLOR",
    "IPYTHON_DIR",
    "JUPYTER_CONFIG_PATH",
    "LANGUAGE",
    "PYTHONOPTIMIZE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)


def environment(threads: int = 1) -> dict[str, str | None]:
    """The variables of an execution: so many threads, one locale and clock, nobody's own configuration.

    Args:
        threads: how many threads each numerical library gets.

    Returns:
        name -> value, or None for a variable that must not be set. The folders that it names last as long as
        this process.

    Examples:
        >>> found = environment(threads=2)
        >>> found["OMP_NUM_THREADS"], found["TZ"], found["PYTHONSTARTUP"]
        ('2', 'UTC', None)
    """
    folder = Path(_folder().name)
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        **dict.fromkeys(_UNSET),
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
    }


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
