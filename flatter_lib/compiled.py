"""Functions that numba compiles, kept between processes.

What is compiled lies in ``$FLATTER_CACHE/kernels``, by default ``$XDG_CACHE_HOME/flatter/kernels`` or
``~/.cache/flatter/kernels``, one file for each function, types of its arguments and processor. The file's name is a
hash of all that its machine code follows from: bytecode and constants of the function and of every function that it
calls, as they are in this process, whatever has become of their files; the types; the processor and its features;
numba's settings; and the versions of Python, NumPy, numba and llvmlite. So no file is ever out of date, and processes
that write at once write the same or to different files (numba's own cache looks at one source file only, and has an
index that they would share). Where nothing can be kept (no home, a full disk, ``FLATTER_CACHE=/dev/null``) and where a
file is damaged, the function is compiled, as it would have been.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import os
import pickle
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import caching, compiler, config, serialize

from flatter_lib.files import replace

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Neither fastmath nor contraction, so that every processor gives the same digits; 1 / 0 is inf.
OPTIONS = {"nogil": True, "fastmath": False, "error_model": "numpy"}
#: So many files stay, those that were used last: a handful of functions, some processors, some days of editing.
MOST_FILES = 64
SUFFIX = ".kernel"


def kernel(function: Kernel) -> Kernel:
    """Compile a function at its first call, for calls from Python, and keep what was compiled.

    Args:
        function: it and the functions that it calls, all compiled by this module, read nothing by name but each
            other, ``np``, ``math``, and numbers and strings. With anything else it is compiled, but not kept.

    Returns:
        The compiled function, which does not hold Python's lock while it runs.

    Examples:
        >>> @kernel
        ... def root_of_sum(values):
        ...     return np.sqrt(values.sum())
        >>> root_of_sum(np.array([1.0, 3.0]))
        2.0
    """
    compiled: Any = numba.njit(**OPTIONS)(function)
    # With NUMBA_DISABLE_JIT it is the function itself, which takes no notice.
    compiled._cache = _Kept(compiled)
    result: Kernel = compiled
    return result


def inner(function: Kernel) -> Kernel:
    """Compile for calls from compiled functions alone, and as a part of these: half of the compiler's work."""
    compiled: Kernel = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(
        function
    )
    return compiled


def folder() -> Path:
    """Where compiled functions are kept; it need not exist."""
    if given := os.environ.get("FLATTER_CACHE"):
        return Path(given).expanduser().absolute() / "kernels"
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "flatter" / "kernels"


class _Kept(caching.NullCache):  # type: ignore[misc]
    """What numba asks for machine code before it compiles, and gives it to afterwards."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The function as it was compiled for some types of arguments; None if it was not, or nothing sound is left."""
        # Whatever is wrong with the folder, a file or numba's insides: it can be compiled.
        try:
            target_context.refresh()
            path = self._path(sig, target_context)
            content = path.read_bytes()
            if content[:32] != _digest(path, content[32:]):
                return None
            with contextlib.suppress(OSError):
                os.utime(path)
            parts = pickle.loads(content[32:])  # noqa: S301 - whoever can write there is the user
            return compiler.CompileResult._rebuild(target_context, *parts)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, unless it holds addresses of this process."""
        try:
            if not data.lifted and not data.library.has_dynamic_globals:
                path = self._path(sig, data.target_context)
                content = serialize.dumps(data._reduce())
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace(path, _digest(path, content) + content)
                _make_room(path.parent)
        except Exception:
            return

    def _path(self, sig: Any, target_context: Any) -> Path:
        # The processor is named below, whoever chose it; how many threads there are does not matter.
        settings = [(k, repr(v)) for k, v in sorted(vars(config).items()) if k.isupper()]
        parts = [
            *_parts(self._dispatcher, set()),
            repr(sig),
            repr(target_context.codegen().magic_tuple()),
            *(f"{k}={v}" for k, v in settings if not re.search("CPU_|THREAD", k)),
            platform.python_implementation() + platform.python_version(),
            *(package.__version__ for package in (np, numba, llvmlite)),
        ]
        name = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
        return folder() / f"{self._dispatcher.__name__}-{name}{SUFFIX}"


def _digest(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + data).digest()


def _make_room(home: Path) -> None:
    files = sorted(home.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST_FILES]:
        path.unlink()


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    """All of a value that goes into machine code: of a function, also what it calls and reads by name.

    Raises:
        TypeError: for a value that may change without a trace.
    """
    if hasattr(value, "py_func"):
        yield repr(sorted(value.targetoptions.items()))
        if id(value) not in seen:
            seen.add(id(value))
            yield from _parts(value.py_func, seen)
    elif isinstance(value, FunctionType):
        code, cells = value.__code__, value.__closure__ or ()
        known = vars(builtins) | value.__globals__
        known |= {k: v.cell_contents for k, v in zip(code.co_freevars, cells, strict=True)}
        yield repr(value.__defaults__)
        for part in _codes(code):
            yield repr((part.co_code, part.co_exceptiontable, part.co_flags, part.co_argcount))
            yield repr((part.co_names, part.co_varnames, part.co_cellvars, part.co_freevars))
            yield repr([c for c in part.co_consts if not isinstance(c, CodeType)])
            # Some of them are names of attributes, which does no harm.
            for name in (*part.co_names, *part.co_freevars):
                if name in known:
                    yield from _parts(known[name], seen)
    elif isinstance(value, ModuleType | type | BuiltinFunctionType) and (
        getattr(value, "__module__", value.__name__) in ("builtins", "math", "numpy")
    ):
        yield value.__name__
    elif isinstance(value, int | float | str | np.number):
        yield repr(value)
    else:
        raise TypeError(f"{value!r} may change without a trace")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
