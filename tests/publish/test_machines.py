"""Other machines: every library really computes with the instruction set that a variant names."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flatter_lib import machine
from flatter_lib.publish import machines

#: Says with what each library computes, after it has computed.
PROBE = """
import json, math
import numpy, scipy.linalg, threadpoolctl, torch
from numba.core.registry import cpu_target
from flatter_lib.publish import machines

with torch.backends.mkldnn.verbose(1), torch.backends.mkl.verbose(1):
    torch.nn.Conv2d(3, 8, 3)(torch.zeros(2, 3, 16, 16))
    torch.zeros(64, 64) @ torch.zeros(64, 64)
_, name, features = cpu_target.target_context.codegen().magic_tuple()
print(json.dumps({
    "said": machines.current(),
    "left": [v.name for v in machines.available()],
    "torch": torch.backends.cpu.get_cpu_capability(),
    "openblas": sorted({i["architecture"] for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"}),
    "numpy": numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
    "numba": [name, features],
    "libm": [math.exp(i / 7).hex() for i in range(2000)],
}))
"""

EXPECTED: dict[str, dict[str, Any]] = {
    "avx2": {
        "said": "avx2",
        "left": ["native", "sse"],
        "torch": "AVX2",
        "openblas": ["Haswell"],
        "numba": ["haswell", ""],
    },
    "sse": {
        "said": "sse",
        "left": ["native"],
        "torch": "DEFAULT",
        "openblas": ["Nehalem"],
        "numba": ["nehalem", ""],
        "numpy": [],
    },
}
VERBOSE = {
    "avx2": ("cpu,isa:Intel AVX2", "(Intel(R) AVX2)", "CNR:AVX2"),
    "sse": ("cpu,isa:Intel SSE4.1", "Intel(R) Architecture processors", "CNR:COMPATIBLE"),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switches of x86-64")
@pytest.mark.parametrize("name", ["avx2", "sse"])
def test_every_library_computes_as_on_that_machine(name: str) -> None:
    variant = next((v for v in machines.available() if v.name == name), None)
    if variant is None:
        pytest.skip(f"this processor computes with {machines.current()} at most")
    settings = os.environ | dict(variant.environment)
    command = [sys.executable, "-W", "error", "-c", PROBE]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *verbose, said = done.stdout.splitlines()
    found = json.loads(said)
    assert found | EXPECTED[name] == found
    assert not [group for group in found["numpy"] if group.startswith(("AVX512", "X86_V4"))]
    assert all(words in "\n".join(verbose) for words in VERBOSE[name])
    fused = [math.exp(i / 7).hex() for i in range(2000)]
    assert (found["libm"] == fused) == (name == "avx2")


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this processor another one."""

    def processor(isa: str, *has: str, family: str = "x86_64", already: str = "") -> None:
        monkeypatch.setattr(machine, "processor", lambda: f"Some Processor, {isa}")
        monkeypatch.setattr(platform, "machine", lambda: family)
        groups = {"found": list(has), "not found": ["AVX512_ICL", "AVX512_SPR"]}
        monkeypatch.setattr(machines, "_numpy", lambda: groups)
        monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", already)

    return processor


@pytest.mark.parametrize(
    ("isa", "variants"),
    [
        ("avx512", {"native": "avx512", "avx2": "avx2", "sse": "sse"}),
        ("avx2", {"native": "avx2", "sse": "sse"}),
        ("default", {"native": "sse"}),
    ],
)
def test_what_a_processor_cannot_do_is_left_out(
    pretend: Callable[..., None], isa: str, variants: dict[str, str]
) -> None:
    pretend(isa)
    assert {v.name: v.isa for v in machines.available()} == variants
    # Another one than published is this machine as it is, or else the first of the others, or there is none.
    native, *others = variants.values()
    assert machines.other_than(native).isa == machines.other_than(None).isa == [*others, native][0]
    assert machines.other_than("an older one").name == "native"
    pretend(isa, family="arm64")
    assert {v.name: v.isa for v in machines.available()} == {"native": "arm64"}


@pytest.mark.parametrize(
    ("isa", "has", "already", "told"),
    [
        ("avx512", ["X86_V3", "X86_V4"], "", ["X86_V4", "X86_V3 X86_V4"]),
        ("avx512", ["SSE41", "AVX512_SKX"], "", ["AVX512_SKX", "SSE41 AVX512_SKX"]),
        ("avx2", ["X86_V3"], "AVX512_ICL,NONE", ["X86_V3 AVX512_ICL"]),
    ],
)
def test_numpy_is_told_only_of_what_it_knows_and_has(
    pretend: Callable[..., None], isa: str, has: list[str], already: str, told: list[str]
) -> None:
    pretend(isa, *has, already=already)
    variants = machines.available()[1:]
    assert [v.environment["NPY_DISABLE_CPU_FEATURES"] for v in variants] == told
