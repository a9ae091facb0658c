"""A checkpoint is there whole or not at all, says what it is, and brings no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flatter_lib.vision.checkpoint import CheckpointError, read, write

STATE = {"step": 3, "weights": [torch.arange(2000.0)], "nested": {"names": ("a", None, True)}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.pt"
    write(path, STATE)
    found = read(path)
    assert found["step"] == 3
    assert found["nested"] == STATE["nested"]
    assert torch.equal(found["weights"][0], torch.arange(2000.0))
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write(path, STATE)
    whole = path.read_bytes()
    weight, step = whole.index(torch.arange(2000.0).numpy().tobytes()) + 400, whole.index(b"step")
    altered = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in (weight, step, step - 9)]
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2], whole[:-10], *altered):
        path.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=r"a\.pt is damaged, or no checkpoint .*: delete it"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_there_is_none_or_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(CheckpointError, match=r"no checkpoint .*a\.pt: begin without one$"):
        read(path)
    torch.save(torch.ones(2), path)
    with pytest.raises(CheckpointError, match=r"no checkpoint .it holds a Tensor.: delete it"):
        read(path)


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write(path, STATE)
    with pytest.raises(ValueError, match="state: must hold nothing but tensors, numbers"):
        write(path, {"step": np.float64(3)})
    assert read(path)["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


class Trap:
    """Would touch a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_no_code_is_loaded(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"state": Trap(sprung)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match="is damaged, or no checkpoint"):
            read(tmp_path / name)
    assert not sprung.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert sprung.exists(), "the trap works"
