"""Checkpoints: a state on disk, whole or not at all; no code is ever loaded from one.

A file is what ``torch.save`` writes of a dictionary of tensors, numbers, texts and containers of them, and it is read
with ``weights_only=True``.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flatter_lib import files


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
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "nothing but tensors, numbers, texts, None and containers of them"
        raise ValueError(f"state: must hold {what}") from error
    files.replace(Path(path), buffer.getvalue(), sync=True)


def read(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state in a file.

    Args:
        path: which file.
        device: where its tensors are put.

    Raises:
        CheckpointError: if there is none, it is damaged, or it holds something else.
    """
    try:
        # What is no archive torch would take for a file of its oldest kind, a bare pickle.
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise ValueError(f"{part} has another checksum than was written")
        found: Any = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint {path}: begin without one") from None
    except Exception as error:  # a damaged stream asks for anything
        raise CheckpointError(
            f"checkpoint {path} is damaged, or no checkpoint ({first_line(error)}): delete it and begin again"
        ) from error
    return found


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
            f"checkpoint {path} is of another network ({first_line(error)}): choose the one it was saved from"
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
