"""A data set in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Attributes:
        train_images: uint8, one image a row; grey (n, height, width), where 0 is black, or colour
            (n, height, width, 3) in the order red, green, blue. Fashion-MNIST: (60000, 28, 28).
        train_labels: int64 class indices, (n,).
        test_images: uint8, as the training images; Fashion-MNIST: (10000, 28, 28).
        test_labels: int64 class indices, one a test image.
        name: the data set's name in the catalogue.
        source: which copy was used, in words and without a path; belongs in the record of every run.
    """

    train_images: NDArray[np.uint8] = field(repr=False)
    train_labels: NDArray[np.int64] = field(repr=False)
    test_images: NDArray[np.uint8] = field(repr=False)
    test_labels: NDArray[np.int64] = field(repr=False)
    name: str
    source: str

    @cached_property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of `content_hash` of the four arrays; belongs in every record.

        Computed when it is first asked for, 0.1 s for Fashion-MNIST.
        """
        return content_hash(
            self.train_images, self.train_labels, self.test_images, self.test_labels
        )[:16]


def content_hash(*arrays: NDArray[Any]) -> str:
    """The SHA-256 of arrays of whole numbers in 0 ... 255: of their shapes and values, whatever their types.

    Args:
        arrays: each is hashed as the text of its shape, and its values as bytes in C order.

    Returns:
        In hexadecimal, 64 digits.

    Raises:
        ValueError: if a value is outside 0 ... 255 or no whole number.

    Examples:
        >>> content_hash(np.arange(6).reshape(2, 3)) == content_hash(np.arange(6.0).reshape(2, 3))
        True
        >>> content_hash(np.arange(6).reshape(2, 3)) == content_hash(np.arange(6).reshape(3, 2))
        False
    """
    found = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array, dtype=np.uint8)
        if array.dtype != np.uint8 and not np.array_equal(values, array):
            raise ValueError("arrays: only whole numbers in 0 ... 255 can be hashed")
        found.update(f"{array.shape}".encode())
        found.update(values.data)
    return found.hexdigest()
