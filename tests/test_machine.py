"""What is said of the machine that something was measured on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from flatter_lib import machine

X86 = "vendor : x\nmodel name\t: A Processor, of\t 2 GHz\nflags\t: sse {}\n\nmodel name : Another\n"
ALL = "fma avx2 avx512f avx512vl avx512bw avx512dq"


@pytest.mark.parametrize(
    ("known", "told", "said"),
    [
        (X86.format(ALL), "", "A Processor of 2 GHz, avx512"),
        (X86.format(ALL), "avx2", "A Processor of 2 GHz, avx2"),
        (X86.format(ALL.replace("avx512bw", "")), "", "A Processor of 2 GHz, avx2"),
        (X86.format("avx2"), "", "A Processor of 2 GHz, default"),
        ("Features : fp asimd sve\nCPU part : 0xd40\n", "", "arm, sve"),
        (None, "", "arm, default"),
    ],
)
def test_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str | None, told: str, said: str
) -> None:
    if known is not None:
        (tmp_path / "cpuinfo").write_text(known)
    monkeypatch.setattr("flatter_lib.machine.Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", told)
    machine._known.cache_clear()
    assert machine.processor() == said
    assert machine.describe().endswith(f" {os.cpu_count()} cores, {said}".replace("  ", " "))
    assert machine.short(machine.describe()).endswith(" cores")
    machine._known.cache_clear()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the levels are those of x86-64")
def test_the_instruction_set_is_what_torch_uses() -> None:
    assert machine.processor().endswith(f", {torch.backends.cpu.get_cpu_capability().lower()}")
