"""What a data set's files look like in a folder; and files that are known by their checksums, as those of MNIST."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class DataError(Exception):
    """Data that are missing, damaged or out of reach: one line that says what is wrong and what to do."""


class Arrays(NamedTuple):
    """The decoded content of one copy, as stored: uint8."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


class Layout(Protocol):
    """One way in which a data set lies in a folder."""

    def read(self, folder: Path) -> Arrays | None:
        """The whole copy, checked; None if no part of one is there.

        Raises:
            DataError: if a part is missing, unreadable, truncated or altered; the message names the file.
            OSError: if something cannot be read.
        """


@dataclass(frozen=True)
class Files:
    """Files in one folder, each plain or compressed with the ending ``.gz``, known by their checksums.

    Attributes:
        digests: name without ``.gz`` -> SHA-256 or MD5 in hexadecimal, of the decompressed file: an archive may have
            been packed anew.
        decode: makes the arrays from the files' contents by name, in this order; raises ValueError.
    """

    digests: Mapping[str, str]
    decode: Callable[[Mapping[str, bytes]], Arrays]

    def contents(self, folder: Path) -> dict[str, bytes]:
        """The files by name, decompressed and checked; empty if none of them is there.

        Raises:
            DataError: if some are there and one is missing or not intact.
            OSError: if one cannot be read.
        """
        read = {name: self._content(folder, name) for name in self.digests}
        found = {name: content for name, content in read.items() if content is not None}
        if found and len(found) < len(read):
            lacking = next(name for name in read if name not in found)
            raise DataError(f"{folder} lacks {lacking}; unpack it anew")
        return found

    def read(self, folder: Path) -> Arrays | None:
        """See `Layout.read`."""
        contents = self.contents(folder)
        try:
            return self.decode(contents) if contents else None
        except ValueError as error:
            raise DataError(f"{folder} holds another data set: {error}") from None

    def _content(self, folder: Path, name: str) -> bytes | None:
        path = folder / name
        if not path.exists():
            path = folder / f"{name}.gz"
        try:
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise DataError(f"{path} is truncated or altered: it does not decompress") from None
        wanted = self.digests[name]
        kind = "MD5" if len(wanted) == 32 else "SHA-256"
        digest = hashlib.new(kind.replace("-", ""), content, usedforsecurity=False).hexdigest()
        if digest != wanted:
            raise DataError(
                f"{path} is truncated or altered ({len(content):,} bytes): its {kind} is {digest[:12]}..., "
                f"not {wanted[:12]}...; unpack it anew"
            )
        return content


def idx(content: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, the format of MNIST and its relatives.

    The header is 0, 0, 8 (unsigned bytes), the number of axes n, then n big-endian 32-bit lengths; then come the bytes
    in C order.

    Returns:
        A new, writable uint8 array of the shape that the header gives.

    Raises:
        ValueError: if the length or the type is not what the header promises.

    Examples:
        >>> idx(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        array([[1, 2, 3],
               [4, 5, 6]], dtype=uint8)
    """
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"no IDX file of unsigned bytes starts with {content[:4].hex(' ')}")
    axes = content[3]
    shape = tuple(np.frombuffer(content, ">u4", offset=4, count=axes).tolist())
    return np.frombuffer(content[4 + 4 * axes :], np.uint8).reshape(shape).copy()
