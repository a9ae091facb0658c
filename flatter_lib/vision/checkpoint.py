"""Checkpoints: a state on disk, whole or not at all, in a format that says what it is; no code is ever loaded from one.

A file is what ``torch.save`` writes of a dictionary of tensors, numbers, texts and containers of them, and it is read
with ``weights_only=True``. It appears under its name when it is complete: an interrupt, a crash or a full disk leaves
the previous one as it was.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = "flatter_lib training"
#: Goes up when the meaning of a file changes; files of other versions are refused.
VERSION = 1


class CheckpointError(Exception):
    """A checkpoint that cannot be used: one line that says which file, why, and what to do."""


def write(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state, in place of the file that is there.

    Args:
        path: where; the folder is made.
        state: tensors, numbers, texts, None, and dictionaries, lists and tuples of them.

    Raises:
        OSError: if it cannot be written; the file that was there is as it was.
        ValueError: if it could not be read again, for what it holds; likewise.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/a.pt", {"step": 3})
        ...     read(f"{folder}/a.pt")
        {'step': 3}
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            try:
                torch.save({"format": FORMAT, "version": VERSION, "state": dict(state)}, file)
            except RuntimeError as error:
                # torch wraps what the file system says of a full disk.
                raise OSError(f"{target} could not be written: {error}") from error
            file.flush()
            os.fsync(file.fileno())
        try:
            torch.load(name, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                "state: must hold nothing but tensors, numbers, texts, None and containers of them"
            ) from error
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def read(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state in a file.

    Args:
        path: which file.
        device: where its tensors are put.

    Raises:
        CheckpointError: if there is none, it is damaged, holds something else, or is of another version.
    """
    try:
        # What is no archive torch would take for a file of its oldest kind, a bare pickle.
        if not zipfile.is_zipfile(path):
            Path(path).open("rb").close()
            raise ValueError("it is not what torch.save writes, or not all of it")
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise ValueError(f"{part} has another checksum than was written")
        found: Any = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint {path}: begin without one") from None
    except Exception as error:  # a damaged stream asks for anything
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"checkpoint {path} is damaged, or no checkpoint ({cause}): delete it and begin again"
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds something else than a training: choose another file")
    if found.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint {path} has version {found.get('version')}, and {VERSION} is read here: "
            f"go on with the release that wrote it, or begin again"
        )
    if not isinstance(found.get("state"), dict):
        raise CheckpointError(f"checkpoint {path} has no state: delete it and begin again")
    state: dict[str, Any] = found["state"]
    return state


def load_network(path: str | os.PathLike[str], network: nn.Module) -> None:
    """Give a network the weights and buffers of a training's checkpoint: phase 2 begins where phase 1 ended.

    Args:
        path: a file that `flatter_lib.vision.train.Training.save` wrote.
        network: of the same architecture.

    Raises:
        CheckpointError: as for `read`, and if the network is another one.
    """
    state = read(path)
    try:
        network.load_state_dict(state["network"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {path} is of another network: {_first(error)}; choose the network it was saved from"
        ) from error


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)] if lines else type(error).__name__
