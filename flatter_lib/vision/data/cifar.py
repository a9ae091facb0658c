"""CIFAR-10 as it is published: pickled batches of pixels, the form in which torchvision keeps it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib.vision.data.layouts import Arrays

SIDE = 32


def decode(contents: Mapping[str, bytes]) -> Arrays:
    """The four arrays in the files of ``cifar-10-batches-py``; images in the order of the batches.

    MD5s say that a file is the published one; even so it is read as nothing but containers, numbers, text and NumPy
    arrays, since a pickle can be made to run any code, and MD5s can be forged.

    Args:
        contents: file name -> content; ``data_batch_1`` and so on are for training, ``test_batch`` for testing.

    Raises:
        ValueError: if a file is no batch.
    """
    parts = []
    for part in ("data_batch", "test_batch"):
        batches = [_batch(*item) for item in contents.items() if item[0].startswith(part)]
        parts += [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    return Arrays(*parts)


def _batch(name: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        # Its text was written by Python 2, as bytes.
        entry = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        labels = np.array(entry["labels"], dtype=np.uint8)
        # A row holds the red, then the green, then the blue plane.
        planes = entry["data"].reshape(len(labels), 3, SIDE, SIDE)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
    except Exception as error:  # the bytes of others: a broken pickle may raise anything
        raise ValueError(f"{name} is no batch of CIFAR: {' '.join(str(error).split())}") from None


def _dtype(name: str, align: int, copy: int) -> np.dtype[Any]:
    """The type of the published pixels; NumPy wants truth values where its old releases wrote numbers.

    Raises:
        UnpicklingError: if it is another type.
    """
    if name not in ("u1", "|u1"):
        raise pickle.UnpicklingError(f"it holds values of type {name}, not u1")
    return np.dtype(name, align=bool(align), copy=bool(copy))


#: All that the pickles need beside plain containers: how NumPy rebuilds an array. ``numpy.core`` is what its inner
#: package was called when the files were made.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays, and nothing else that is not plain data."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the three names that an array needs.

        Raises:
            UnpicklingError: if it is another.
        """
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[module, name]
