"""The machine that something was measured on, in one line of text."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

#: A processor's features -> the widest instruction set that PyTorch chooses for them by itself.
LEVELS = (
    ({"avx512vl", "avx512bw", "avx512dq", "fma"}, "avx512"),
    ({"avx2", "fma"}, "avx2"),
    ({"sve"}, "sve"),
)


def describe() -> str:
    """The system, its cores, and the :func:`processor`: "Linux x86_64, 2 cores, Some Processor, avx2"."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {processor()}"


def processor() -> str:
    """The processor's model and the instruction set that it is used with.

    Without a word from ``ATEN_CPU_CAPABILITY``, PyTorch's switch, that is the widest which PyTorch knows for it.
    """
    known = _known()
    features = set(known.get("flags", known.get("Features", "")).split())
    widest = next((name for needed, name in LEVELS if needed <= features), "default")
    return f"{model()}, {os.environ.get('ATEN_CPU_CAPABILITY') or widest}"


def model() -> str:
    """The processor's model, as far as the system tells it."""
    said = _known().get("model name") or platform.processor() or "unknown processor"
    return " ".join(said.replace(",", " ").split())


def short(description: str) -> str:
    """A description without its processor, as pages say it.

    Examples:
        >>> short("Linux x86_64, 2 cores, Some Processor, avx2"), short("Linux x86_64, 2 cores")
        ('Linux x86_64, 2 cores', 'Linux x86_64, 2 cores')
    """
    return ", ".join(description.split(", ")[:2])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = _version(name)
    return found


@functools.cache
def _version(package: str) -> str:
    return metadata.version(package)


@functools.cache
def _known() -> dict[str, str]:
    """What Linux says of its first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
