"""The runs at size: stopped and started again, what was finished is not made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flatter_lib.evidence import load
from flatter_lib.evidence.record import decode
from flatter_lib.experiments.resnet_cifar10 import PROFILES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/resnet_at_size.py"
#: What a machine with a GPU need not have.
NOT_NEEDED = {"matplotlib", "numba", "typer", "yaml", "IPython", "sklearn", "torchvision", "dask"}


def begun(store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), "tiny", "--processes", "1"]
    command += ["--store", str(store), "--starts", str(store / "starts")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_what_was_finished_when_it_was_stopped_is_kept(tmp_path: Path) -> None:
    """As ``timeout -s INT`` stops it; what a kill costs is held in tests/evidence."""
    first = begun(tmp_path)
    loose = tmp_path / ".resnet_cifar10"
    while not (found := sorted(loose.glob("*.json"))) and first.poll() is None:
        time.sleep(0.02)
    kept = {record.key: record for record in (decode(path.read_text()) for path in found)}
    first.send_signal(signal.SIGINT)
    first.communicate()
    assert first.returncode == 130
    assert len(kept) == 1
    starts = {path: path.stat().st_mtime_ns for path in (tmp_path / "starts").glob("*.pt")}
    again = begun(tmp_path)
    again.communicate()
    assert again.returncode == 0
    records = load(tmp_path / "resnet_cifar10.jsonl")
    assert len(records) == len(PROFILES["tiny"])
    assert all(kept[r.key] == r for r in records if r.key in kept)
    assert all(path.stat().st_mtime_ns == made for path, made in starts.items())


def test_it_needs_little_beside_torch() -> None:
    listed = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); import threadpoolctl\n"
        "from flatter_lib import curvature, machine\n"
        "from flatter_lib.vision import augment, data, inputs, label_noise, measure, residual, train\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", listed, str(SCRIPT)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"torch", "flatter_lib"} <= loaded
    assert not loaded & NOT_NEEDED
