"""The IDX format of MNIST and its relatives: a header with the array's shape, then its bytes in C order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def header(axes: int) -> int:
    """The length of the header of an array with so many axes, in bytes."""
    return 4 + 4 * axes


def decode(content: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, the only type that MNIST and its relatives use.

    The header is 0, 0, 8 (unsigned bytes), the number of axes n, then n big-endian 32-bit lengths.

    Args:
        content: the whole file, decompressed.

    Returns:
        A new, writable uint8 array of the shape that the header gives.

    Raises:
        ValueError: if the magic number is another, or the length is not what the header promises.

    Examples:
        >>> decode(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        array([[1, 2, 3],
               [4, 5, 6]], dtype=uint8)
    """
    if content[:3] != b"\0\0\x08" or len(content) < 4:
        start = content[:4].hex(" ") or "nothing"
        raise ValueError(f"not an IDX file of unsigned bytes: it starts with {start}, not 00 00 08")
    first = header(content[3])
    if len(content) < first:
        raise ValueError(f"truncated: {len(content)} bytes, shorter than its header")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", offset=4, count=content[3]))
    promised, given = math.prod(shape), len(content) - first
    if given != promised:
        fault = "truncated" if given < promised else "too long"
        size = " x ".join(map(str, shape))
        raise ValueError(f"{fault}: the header promises {size} = {promised} bytes, {given} follow")
    return np.frombuffer(content, np.uint8, offset=first).reshape(shape).copy()
