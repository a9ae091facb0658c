"""Image files in one folder a class, ``train/<class>/*`` and ``test/<class>/*``: torchvision's ``ImageFolder``."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from flatter_lib.vision.data.layouts import Arrays, DataError, Watch

#: So many images between two calls of `Watch`.
_EVERY = 250
#: What Pillow raises when an image is damaged; its own errors are kinds of OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


@dataclass(frozen=True)
class ImageFolder:
    """Colour images of one size and one format, as many in every class.

    There is no checksum: what is checked is the number of images in every class, and that each decodes to the size
    that it must have.

    Attributes:
        format: ``JPEG`` or ``PNG``, as Pillow calls them.
        endings: of their names, in lower case.
        classes: the names of the class folders, in alphabetical order, which is that of the labels.
        train: images a class in ``train``.
        test: images a class in ``test``.
        side: the width and height of an image.
    """

    format: str
    endings: tuple[str, ...]
    classes: tuple[str, ...]
    train: int
    test: int
    side: int

    @property
    def _parts(self) -> dict[str, int]:
        return {"train": self.train, "test": self.test}

    def present(self, folder: Path) -> bool:
        """Whether an image of this format is in it, or up to three folders deeper; no file is read."""
        try:
            return self._any_image(folder, depth=3)
        except PermissionError:
            return True  # something may be there: reading it will say what is wrong

    def complete(self, folder: Path) -> bool:
        """Whether every class has as many images as it must have; no file is read.

        Raises:
            OSError: if the folder cannot be looked into.
        """
        try:
            return len(self._files(folder)) == len(self.classes) * (self.train + self.test)
        except DataError:
            return False

    def signature(self, folder: Path) -> str:
        """Of the images' names, sizes and times of change, of what they must be, and of the decoder.

        Raises:
            DataError: if the folder cannot be looked into, or the number of images is not right.
        """
        # Two releases of a decoder may round a JPEG's pixels differently.
        text = hashlib.sha256(f"{self!r} Pillow {version('pillow')}".encode())
        try:
            for entry in self._files(folder):
                stat = entry.stat()
                text.update(f"\n{entry.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
        return text.hexdigest()

    def read(self, folder: Path, watch: Watch | None = None) -> Arrays:
        """The four arrays, checked; class after class, and in each in the order of the sorted names.

        Args:
            folder: the folder with ``train`` and ``test``.
            watch: see `Watch`.

        Raises:
            DataError: if a folder or a file is missing, unreadable, damaged, or not what belongs there; the message
                names it.
        """
        try:
            files = self._files(folder)
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
        images = np.empty((len(files), self.side, self.side, 3), np.uint8)
        for i, entry in enumerate(files):
            images[i] = self._decoded(entry.path)
            if watch is not None and ((i + 1) % _EVERY == 0 or i + 1 == len(files)):
                watch(i + 1, len(files))
        first = self.train * len(self.classes)
        labels = [
            np.repeat(np.arange(len(self.classes), dtype=np.uint8), n) for n in self._parts.values()
        ]
        return Arrays(images[:first], labels[0], images[first:], labels[1])

    def _files(self, folder: Path) -> list[os.DirEntry[str]]:
        """Every image, in order.

        Raises:
            DataError: if the folders are not those that they must be, or a class has too many or too few images.
            OSError: if one cannot be looked into.
        """
        self._check_place(folder)
        found: list[os.DirEntry[str]] = []
        for part, number in self._parts.items():
            for name in self.classes:
                here = self._class_files(folder / part / name)
                if len(here) != number:
                    raise DataError(
                        f"{folder / part / name} holds {len(here):,} images, not {number:,}; unpack it anew"
                    )
                found += here
        return found

    def _check_place(self, folder: Path) -> None:
        shape = "train/<class>/* and test/<class>/*"
        lacking = [part for part in self._parts if not (folder / part).is_dir()]
        if lacking:
            for deeper in _folders(folder):
                if all((deeper / part).is_dir() for part in self._parts):
                    raise DataError(
                        f"{deeper} is one folder too deep: move its train and test up into {folder}"
                    )
            flat = "images directly, " if self._any_image(folder, depth=0) else ""
            raise DataError(f"{folder} holds {flat}no folder {lacking[0]}: sort it as {shape}")
        for part in self._parts:
            here = {path.name for path in _folders(folder / part)}
            if not here and self._any_image(folder / part, depth=0):
                raise DataError(
                    f"{folder / part} holds images directly, no folders of classes: sort it as {shape}"
                )
            for name in self.classes:
                if name not in here:
                    raise DataError(
                        f"{folder / part} lacks the class folder {name}; unpack it anew"
                    )
            for name in sorted(here - {*self.classes}):
                raise DataError(f"{folder / part / name} is none of the classes: move it elsewhere")

    def _class_files(self, folder: Path) -> list[os.DirEntry[str]]:
        found = sorted(_visible(folder), key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir():
                raise DataError(f"{entry.path} is a folder among the images: move it elsewhere")
            if not self._named_so(entry):
                raise DataError(f"{entry.path} is no {self.format} file: move it elsewhere")
        return found

    def _any_image(self, folder: Path, depth: int) -> bool:
        """Whether an image is in a folder or so many levels deeper."""
        if not folder.is_dir():
            return False
        if any(self._named_so(entry) for entry in _visible(folder)):
            return True
        return depth > 0 and any(self._any_image(f, depth - 1) for f in _folders(folder))

    def _named_so(self, entry: os.DirEntry[str]) -> bool:
        return entry.name.lower().endswith(self.endings)

    def _decoded(self, path: str) -> NDArray[np.uint8]:
        try:
            with Image.open(path, formats=(self.format,)) as image:
                # Before the pixels are unpacked: a small file can claim to be an enormous image.
                if image.size != (self.side, self.side) or image.mode != "RGB":
                    width, height = image.size
                    raise DataError(
                        f"{path} is another image: {width} x {height} {image.mode}, not "
                        f"{self.side} x {self.side} RGB"
                    )
                return np.asarray(image)
        except UnidentifiedImageError:
            raise DataError(f"{path} is damaged, or no {self.format}; unpack it anew") from None
        except _DAMAGE as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise DataError(f"{path} cannot be decoded: {reason}; unpack it anew") from None


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, without what systems leave there under names that begin with a dot."""
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; none if it is none."""
    if not folder.is_dir():
        return []
    return sorted(folder / entry.name for entry in _visible(folder) if entry.is_dir())
