import errno
import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

import flatter_lib
from flatter_lib import compiled

TEXT = """
from flatter_lib.compiled import inner, kernel
SHIFT = 1.0
@inner
def shifted(x):
    return x + SHIFT
@kernel
def doubled(x):
    return 2.0 * shifted(x)
"""
LIBRARY = Path(flatter_lib.__file__).parent
#: The modules that hold compiled functions.
MODULES = sorted(
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
    for path in LIBRARY.rglob("*.py")
    if "import inner" in (text := path.read_text("utf-8")) or "import kernel" in text
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLATTER_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def made(text=TEXT):
    """A function, compiled as if by a new process, and whatever else its module holds."""
    names = {}
    exec(text, names)
    return names["doubled"], names


def taken(function):
    """How often machine code was taken from the cache, and how often it was not there."""
    return tuple(
        sum(hits.values()) for hits in (function.stats.cache_hits, function.stats.cache_misses)
    )


def test_what_one_process_compiled_another_takes(cache):
    for counts in ((0, 1), (1, 0)):
        function, _ = made()
        assert function(3.0) == 8.0
        assert taken(function) == counts
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ("SHIFT = 1.0", "SHIFT = 2.0", 10.0),
        ("x + SHIFT", "x - SHIFT", 4.0),
        ("2.0 * shifted(x)", "3.0 * shifted(x)", 12.0),
        ("def shifted(x):", "def shifted(x, y=1.0):\n    x = x * y", 8.0),
        ("@inner\n", "import numba\n@numba.njit(fastmath=True)\n", 8.0),
    ],
)
def test_what_depends_on_changed_code_is_compiled_anew(old, new, result):
    made()[0](3.0)
    function, _ = made(TEXT.replace(old, new))
    assert function(3.0) == result
    assert taken(function) == (0, 1)


def test_constants_are_those_of_this_process_not_of_its_file():
    made()[0](3.0)
    function, names = made()
    names["SHIFT"] = 5.0
    assert function(3.0) == 16.0
    assert made()[0](3.0) == 8.0


def test_each_type_of_argument_has_its_own(cache):
    made()[0](3.0)
    function, _ = made()
    assert (function(3), function(3.0)) == (8.0, 8.0)
    assert taken(function) == (1, 1)


def test_what_reads_something_that_can_change_is_not_kept(cache):
    text = TEXT.replace("SHIFT = 1.0", "import numpy\nSHIFTS = numpy.ones(1)").replace(
        "+ SHIFT", "+ SHIFTS[0]"
    )
    assert made(text)[0](3.0) == 8.0
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["nothing", "half", "one byte", "another's"])
def test_a_damaged_file_is_compiled_and_written_again(cache, damage):
    made(TEXT.replace("1.0", "7.0"))[0](3.0)
    (other,) = cache.iterdir()
    made()[0](3.0)
    (path,) = set(cache.iterdir()) - {other}
    content = path.read_bytes()
    path.write_bytes(
        {
            "nothing": b"",
            "half": content[: len(content) // 2],
            "one byte": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "another's": other.read_bytes(),
        }[damage]
    )
    for counts in ((0, 1), (1, 0)):
        function, _ = made()
        assert function(3.0) == 8.0
        assert taken(function) == counts


def test_where_nothing_can_be_kept_it_is_compiled(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    for given in ("/dev/null", str(tmp_path / "file"), ""):
        monkeypatch.setenv("FLATTER_CACHE", given)
        assert made()[0](3.0) == 8.0


def test_on_a_full_disk_it_is_compiled_and_nothing_is_left(cache, monkeypatch):
    def full(handle, mode):
        os.close(handle)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    assert made()[0](3.0) == 8.0
    assert not list(cache.iterdir())


def test_only_what_was_used_last_stays(cache, monkeypatch):
    monkeypatch.setattr(compiled, "MOST_FILES", 2)
    for number in ("1.0", "2.0", "1.0", "3.0"):
        made(TEXT.replace("1.0", number))[0](3.0)
        for path in cache.iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    assert len(list(cache.iterdir())) == 2
    for number in ("1.0", "3.0"):
        function, _ = made(TEXT.replace("1.0", number))
        function(3.0)
        assert taken(function) == (1, 0)


def test_threads_that_call_first_at_once():
    function, _ = made()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(function, [3.0] * 8)) == [8.0] * 8
    assert len(function.signatures) == 1


def process(folder, number, **variables):
    """A process that prints what comes out, and how often the machine code was there."""
    path = folder / f"{number}.py"
    path.write_text(TEXT + "print(doubled(3.0), len(doubled.stats.cache_hits))")
    return subprocess.Popen(
        [sys.executable, "-W", "error", path],
        cwd=LIBRARY.parent,
        env=os.environ | {"PYTHONPATH": str(LIBRARY.parent)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_at_once_share_what_is_for_their_processor(tmp_path, cache):
    generic = {"NUMBA_CPU_NAME": "generic"}
    running = [process(tmp_path, i, **v) for i, v in enumerate([{}, {}, generic])]
    said = [p.communicate(timeout=120)[0] for p in running]
    # Of the two on one processor one may find what the other wrote.
    assert [line[:4] for line in said] == ["8.0 "] * 3
    assert said[2] == "8.0 0\n"
    assert len(list(cache.iterdir())) == 2
    assert process(tmp_path, 3, **generic).communicate(timeout=120)[0] == "8.0 1\n"


def test_all_of_the_library_is_compiled_here_and_kept():
    assert len(MODULES) >= 6
    found = {}
    for path in LIBRARY.rglob("*.py"):
        compiles = re.search(r"numba\.n?jit\(", path.read_text("utf-8"))
        assert path.name == "compiled.py" or not compiles, path
    for name in MODULES:
        held = vars(importlib.import_module(name)).items()
        found |= {
            f"{name}.{k}": v for k, v in held if isinstance(getattr(v, "_cache", 0), compiled._Kept)
        }
    assert len(found) >= 5
    for function in found.values():
        assert list(compiled._parts(function, set()))


def test_nothing_is_compiled_by_an_import():
    code = f"import numba, sys, {', '.join(MODULES)}\n" + (
        "print([v for m in list(sys.modules.values()) if m.__name__.startswith('flatter_lib')"
        " for v in vars(m).values() if getattr(v, 'signatures', None)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=LIBRARY.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_without_a_compiler_the_function_itself_runs(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert made()[0](3.0) == 8.0
