"""CIFAR-10 as it is published: pickled batches of pixels, the layout in which torchvision keeps it."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib.vision.data.layouts import Arrays, DataError, put


@dataclass(frozen=True)
class Batch:
    """One file of the published archive.

    Attributes:
        name: its name.
        md5: its MD5, in hexadecimal.
    """

    name: str
    md5: str

    def content(self, folder: Path) -> bytes:
        """The file, checked.

        Raises:
            DataError: if it is missing, unreadable or altered.
        """
        path = folder / self.name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{folder} lacks {self.name}; unpack the archive anew") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest != self.md5:
            raise DataError(
                f"{path} is truncated or altered ({len(content):,} bytes): its MD5 is {digest[:12]}..., not "
                f"{self.md5[:12]}...; unpack the archive anew"
            )
        return content


@dataclass(frozen=True)
class CifarBatches:
    """The files of ``cifar-10-batches-py``.

    Attributes:
        train: the batches of training images.
        test: the batches of test images.
        meta: the file with the names of the classes.
        classes: these names, in the order of the labels.
        images: images a batch.
        side: the width and height of an image.
        archive: the name of the archive in which they are published, to be recognised beside the folder.
    """

    train: tuple[Batch, ...]
    test: tuple[Batch, ...]
    meta: Batch
    classes: tuple[str, ...]
    images: int
    side: int
    archive: str

    @property
    def files(self) -> tuple[Batch, ...]:
        """All of them."""
        return *self.train, *self.test, self.meta

    def present(self, folder: Path) -> bool:
        """Whether any of the files is there, or one folder too deep, or still packed; no file is read."""
        try:
            return any(
                (place / f.name).exists() for f in self.files for place in _nested(folder)
            ) or (not folder.exists() and (folder.parent / self.archive).is_file())
        except PermissionError:
            return True  # something may be there: reading it will say what is wrong

    def complete(self, folder: Path) -> bool:
        """Whether all files are there, and each batch no shorter than its pixels; no file is read.

        Raises:
            OSError: if the folder cannot be looked into.
        """
        pixels = self.images * 3 * self.side**2
        shortest = {batch.name: pixels for batch in (*self.train, *self.test)}
        return all(
            (folder / file.name).is_file()
            and (folder / file.name).stat().st_size > shortest.get(file.name, 0)
            for file in self.files
        )

    def read(self, folder: Path) -> Arrays:
        """The four arrays, checked; images in the order of the batches, (n, height, width, 3).

        The MD5s say that a file is the published one; even so it is read as nothing but containers, numbers, text and
        NumPy arrays, since a pickle can be made to run any code, and MD5s can be forged.

        Raises:
            DataError: if a file is missing, unreadable, truncated or altered; the message names it.
        """
        self._check_place(folder)
        names = _unpickled(folder / self.meta.name, self.meta.content(folder)).get("label_names")
        if names != list(self.classes):
            raise DataError(f"{folder / self.meta.name} names other classes: {names}")
        return Arrays(*self._part(folder, self.train), *self._part(folder, self.test))

    def install(self, folder: Path, target: Path) -> None:
        """Put the checked copy in ``folder`` into ``target``, where torchvision reads it too.

        Raises:
            DataError: if the copy is not intact; ``target`` is then as it was.
            OSError: if ``target`` cannot be written.
        """
        put({file.name: file.content(folder) for file in self.files}, target)

    def _check_place(self, folder: Path) -> None:
        try:
            if not folder.exists() and (archive := folder.parent / self.archive).is_file():
                raise DataError(f"{archive} is not unpacked: `tar -xzf {archive.name}` beside it")
            deeper = _nested(folder)[1]
            if (deeper / self.meta.name).exists() and not (folder / self.meta.name).exists():
                raise DataError(f"{deeper} is one folder too deep: move its files up into {folder}")
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}") from None

    def _part(
        self, folder: Path, batches: Iterable[Batch]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        read = [self._batch(folder / batch.name, batch.content(folder)) for batch in batches]
        images, labels = zip(*read, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def _batch(self, path: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        entry = _unpickled(path, content)
        pixels, labels = np.asarray(entry.get("data")), np.asarray(entry.get("labels"))
        shape = (self.images, 3 * self.side**2)
        if pixels.dtype != np.uint8 or pixels.shape != shape:
            raise DataError(
                f"{path} is another file: it holds {pixels.shape} {pixels.dtype}, not {shape} uint8"
            )
        if (
            labels.shape != shape[:1]
            or labels.dtype.kind != "i"
            or not 0 <= labels.min() <= labels.max() < len(self.classes)
        ):
            raise DataError(
                f"{path} is another file: no label 0 to {len(self.classes) - 1} an image"
            )
        # A row holds the red, then the green, then the blue plane.
        planes = pixels.reshape(self.images, 3, self.side, self.side)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels.astype(np.uint8)


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


def _unpickled(path: Path, content: bytes) -> dict[str, Any]:
    """The dictionary in a file; its text was written by Python 2, as bytes."""
    try:
        entry = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # the bytes of others: a broken pickle may raise anything
        raise DataError(f"{path} is no batch of CIFAR: {' '.join(str(error).split())}") from None
    if not isinstance(entry, dict):
        raise DataError(f"{path} is no batch of CIFAR: it holds {type(entry).__name__}, not dict")
    return entry


def _nested(folder: Path) -> tuple[Path, Path]:
    """A folder, and that of the same name inside it, which some unpackers make."""
    return folder, folder / folder.name
