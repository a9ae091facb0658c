"""The IDX format of MNIST and its relatives: a header with the array's shape, then its bytes in C order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flatter_lib.vision.data.layouts import Arrays


def decode(contents: Mapping[str, bytes]) -> Arrays:
    """The arrays in the four files, in the order of `Arrays`."""
    return Arrays(*map(array, contents.values()))


def array(content: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, the only type that MNIST and its relatives use.

    The header is 0, 0, 8 (unsigned bytes), the number of axes n, then n big-endian 32-bit lengths.

    Returns:
        A new, writable uint8 array of the shape that the header gives.

    Raises:
        ValueError: if the length or the type is not what the header promises.

    Examples:
        >>> array(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        array([[1, 2, 3],
               [4, 5, 6]], dtype=uint8)
    """
    if content[:3] != b"\0\0\x08" or len(content) < 4:
        raise ValueError(f"no IDX file of unsigned bytes starts with {content[:4].hex(' ')}")
    axes = content[3]
    shape = tuple(np.frombuffer(content, ">u4", offset=4, count=axes).tolist())
    return np.frombuffer(content[4 + 4 * axes :], np.uint8).reshape(shape).copy()
