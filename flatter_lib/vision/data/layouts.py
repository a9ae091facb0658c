"""What a data set's files look like in a folder: reading a copy, checking it, and putting one in place."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flatter_lib.vision.data import idx


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

    def present(self, folder: Path) -> bool:
        """Whether any part of a copy is there; nothing is read."""

    def read(self, folder: Path) -> Arrays:
        """The whole copy, checked.

        Raises:
            DataError: if a part is missing, unreadable, truncated or altered; the message names the file.
        """

    def install(self, folder: Path, target: Path) -> None:
        """Put the checked copy in ``folder`` into ``target``; each file appears there whole or not at all.

        Raises:
            DataError: if the copy is not intact; ``target`` is then as it was.
            OSError: if ``target`` cannot be written.
        """


@dataclass(frozen=True)
class IdxFile:
    """One file of IDX data, plain or compressed with the ending ``.gz``.

    Attributes:
        name: its name without ``.gz``.
        shape: the shape of its array.
        sha256: the SHA-256 of the decompressed file, in hexadecimal: an archive may have been packed anew.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    def paths(self, folder: Path) -> tuple[Path, Path]:
        """Where it may be in a folder: plain, which reads faster, before compressed."""
        return folder / self.name, folder / f"{self.name}.gz"

    def content(self, folder: Path) -> bytes:
        """The decompressed file; if the plain one is damaged and the compressed one intact, the latter.

        Raises:
            DataError: if neither is there, or none of those there is intact.
        """
        faults = []
        for path in self.paths(folder):
            try:
                content = path.read_bytes()
                if path.suffix == ".gz":
                    content = gzip.decompress(content)
                self._check(content)
                return content
            except FileNotFoundError:
                continue
            except (EOFError, zlib.error):
                faults.append(f"{path} is truncated or altered: it does not decompress")
            except gzip.BadGzipFile:
                faults.append(f"{path} is altered, or no gzip file: it does not decompress")
            except OSError as error:
                faults.append(f"{path} cannot be read: {error.strerror}")
            except ValueError as error:
                faults.append(f"{path} is {error}")
        raise DataError(faults[0] if faults else f"{folder} lacks {self.name}[.gz]")

    def _check(self, content: bytes) -> None:
        # The shape comes first only to say more than that the checksum differs.
        shape = idx.decode(content).shape
        if shape != self.shape:
            given, wanted = (" x ".join(map(str, s)) for s in (shape, self.shape))
            raise ValueError(f"another file: it holds {given} values, not {wanted}")
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ValueError(
                f"altered: the SHA-256 of its content is {digest[:12]}..., not {self.sha256[:12]}..."
            )


@dataclass(frozen=True)
class IdxFiles:
    """Four IDX files in one folder, the layout of MNIST and its relatives."""

    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """The four, in the order of `Arrays`."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def present(self, folder: Path) -> bool:
        """Whether any of the four is there; nothing is read."""
        try:
            return any(path.exists() for file in self.files for path in file.paths(folder))
        except PermissionError:
            return True  # something may be there: reading it will say what is wrong

    def read(self, folder: Path) -> Arrays:
        """The four arrays, checked.

        Raises:
            DataError: if one is missing, unreadable, truncated or altered; the message names the file.
        """
        return Arrays(*(idx.decode(file.content(folder)) for file in self.files))

    def install(self, folder: Path, target: Path) -> None:
        """Put the checked copy in ``folder`` into ``target``, decompressed, where torchvision reads it too.

        Raises:
            DataError: if the copy is not intact; ``target`` is then as it was.
            OSError: if ``target`` cannot be written.
        """
        contents = {file.name: file.content(folder) for file in self.files}
        target.mkdir(parents=True, exist_ok=True)
        # Inside the target, so that the move stays on one file system and is atomic.
        with TemporaryDirectory(dir=target, prefix=".new-") as name:
            fresh = Path(name)
            for file, content in contents.items():
                (fresh / file).write_bytes(content)
            for file in contents:
                (fresh / file).replace(target / file)
