"""What a data set's files look like in a folder; and files that are known by their checksums."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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
        found, lacking = dict[str, bytes](), list[str]()
        for name in self.digests:
            content = self._content(folder, name)
            if content is None:
                lacking.append(name)
            else:
                found[name] = content
        if found and lacking:
            raise DataError(f"{folder} lacks {lacking[0]}; unpack it anew")
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


def put(contents: Mapping[str, bytes], target: Path) -> None:
    """Write files into a folder; each appears there whole or not at all.

    Args:
        contents: file name -> content.
        target: the folder; made if it is not there.

    Raises:
        OSError: if it cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    # Inside the target, so that the move stays on one file system and is atomic.
    with TemporaryDirectory(dir=target, prefix=".new-") as name:
        fresh = Path(name)
        for file, content in contents.items():
            (fresh / file).write_bytes(content)
        for file in contents:
            (fresh / file).replace(target / file)
