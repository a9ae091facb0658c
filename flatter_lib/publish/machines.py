"""The instruction sets that this processor can compute with, each as another machine would.

Every numerical library chooses its kernels by what the processor can do, so that sums are taken in another order and
elementary functions differ in their last bits. Each library has a switch of its own that makes it choose as on an older
processor; here they are set together. Only x86-64 has such switches in all of them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from flatter_lib import machine

#: x86-64 by what counts here, each level with all of those before it.
_LEVELS = ("sse", "avx2", "avx512")
#: How the names of NumPy's groups of such instructions begin, before its version 2.4 and since.
_PREFIX_OF_AVX512 = ("AVX512", "X86_V4")


@dataclass(frozen=True)
class Variant:
    """An instruction set to compute with.

    Attributes:
        name: a short word.
        title: what machine computes so, for people.
        isa: what a process under it computes with, as `current` says it there.
        environment: the variables that a process starts with, besides its own.
    """

    name: str
    title: str
    isa: str
    environment: Mapping[str, str] = field(default_factory=dict)


def available() -> tuple[Variant, ...]:
    """The instruction sets that this processor can compute with; the one that it has chosen comes first.

    Examples:
        >>> available()[0].name
        'native'
    """
    here = current()
    native = Variant("native", f"this machine as it is ({here})", here)
    lower = _LEVELS[: _LEVELS.index(here)] if here in _LEVELS else ()
    return (native, *(_older(isa) for isa in reversed(lower)))


def current() -> str:
    """What this process computes with: ``avx512``, ``avx2``, ``sse``, or the processor's family.

    Where PyTorch's own switch says less than the processor can do, that counts.
    """
    family = platform.machine().lower()
    if family not in ("x86_64", "amd64"):
        return family
    isa = machine.processor().rpartition(", ")[2]
    return "sse" if isa == "default" else isa


def other_than(published: str | None) -> Variant:
    """A variant that computes with something else than what was published: this machine as it is, if it does.

    Args:
        published: the ``isa`` of what was published; None if it is not known.

    Returns:
        The first such variant; on a machine that has no other, this machine as it is.
    """
    native, *others = available()
    if published is not None and native.isa != published:
        return native
    return next((variant for variant in others if variant.isa != published), native)


def _older(isa: str) -> Variant:
    if isa == "avx2":
        variables = {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_CBWR": "AVX2",
            "NPY_DISABLE_CPU_FEATURES": _dispatched(_PREFIX_OF_AVX512),
            "NUMBA_CPU_FEATURES": "",  # else numba adds all that the processor has
            "NUMBA_CPU_NAME": "haswell",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        }
        return Variant(isa, "x86-64 with AVX2 and without AVX-512", isa, variables)
    variables = {
        "ATEN_CPU_CAPABILITY": "default",
        # The C library's exp, sin and tanh have versions for FMA, which `math` and NumPy call.
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": _dispatched(("",)),
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CPU_NAME": "nehalem",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
    }
    return Variant(isa, "x86-64 without AVX and without fused multiply-add", isa, variables)


def _dispatched(prefixes: tuple[str, ...]) -> str:
    """The groups of instructions that NumPy may be told to leave alone: it refuses names that it does not know."""
    already = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
    found = [*_numpy()["found"], *(name for name in _numpy()["not found"] if name in already)]
    return " ".join(name for name in found if name.startswith(prefixes))


def _numpy() -> dict[str, list[str]]:
    """NumPy's groups of instructions chosen at run time: ``found``, and ``not found`` or told to leave alone."""
    import numpy as np

    said = dict(np.show_config(mode="dicts")["SIMD Extensions"])
    return {name: list(said.get(name, [])) for name in ("found", "not found")}  # type: ignore[call-overload]
