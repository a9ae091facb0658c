"""A checkpoint is there whole or not at all, says what it is, and brings no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flatter_lib.vision import checkpoint
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


@pytest.mark.parametrize(
    "raised", [OSError(28, "No space left"), RuntimeError("write"), KeyboardInterrupt()]
)
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    path = tmp_path / "a.pt"
    write(path, STATE)

    def save(state: Any, file: Any) -> None:
        file.write(b"half")
        raise raised

    monkeypatch.setattr(torch, "save", save)
    kind = KeyboardInterrupt if isinstance(raised, KeyboardInterrupt) else OSError
    with pytest.raises(kind):
        write(path, {"step": 4})
    monkeypatch.undo()
    assert read(path)["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


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


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint .*a\.pt: begin without one$"):
        read(tmp_path / "a.pt")


def test_other_files_and_other_versions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="holds something else than a training"):
        read(path)
    torch.save(torch.ones(2), path)
    with pytest.raises(CheckpointError, match="holds something else than a training"):
        read(path)
    for state in ({}, {"state": 3}):
        torch.save({"format": checkpoint.FORMAT, "version": checkpoint.VERSION, **state}, path)
        with pytest.raises(
            CheckpointError, match=r"a\.pt has no state: delete it and begin again$"
        ):
            read(path)
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    write(path, STATE)
    monkeypatch.undo()
    with pytest.raises(
        CheckpointError, match="has version 2, and 1 is read here: go on with the release"
    ):
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
