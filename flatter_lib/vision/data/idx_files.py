"""The layout of MNIST and its relatives: four IDX files in one folder, plain or compressed."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

from flatter_lib.vision.data import idx
from flatter_lib.vision.data.layouts import Arrays, DataError, put


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

    def complete(self, folder: Path) -> bool:
        """Whether it is there, and as long as it must be if it is plain.

        Raises:
            OSError: if the folder cannot be looked into.
        """
        plain, compressed = self.paths(folder)
        size = idx.header(len(self.shape)) + math.prod(self.shape)
        return (plain.is_file() and plain.stat().st_size == size) or compressed.is_file()

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
    """Four IDX files in one folder."""

    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """The four, in the order of `Arrays`."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def present(self, folder: Path) -> bool:
        """Whether any of the four is there; no file is read."""
        try:
            return any(path.exists() for file in self.files for path in file.paths(folder))
        except PermissionError:
            return True  # something may be there: reading it will say what is wrong

    def complete(self, folder: Path) -> bool:
        """Whether all four are there, and plain ones as long as they must be; no file is read.

        Raises:
            OSError: if the folder cannot be looked into.
        """
        return all(file.complete(folder) for file in self.files)

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
        put({file.name: file.content(folder) for file in self.files}, target)
