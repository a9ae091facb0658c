"""Image files in one folder a class, ``train/<class>/*`` and ``test/<class>/*``: torchvision's ``ImageFolder``."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flatter_lib.vision.data.layouts import Arrays, DataError

_ENDINGS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg")}
#: What Pillow raises when an image is damaged; its own errors are kinds of OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


@dataclass(frozen=True)
class ImageFolder:
    """Colour images of one size and one format, as many in every class.

    There is no checksum: what is checked is the number of images in every class, and that each decodes to the size
    that it must have.

    Attributes:
        format: ``JPEG`` or ``PNG``, as Pillow calls them.
        classes: the names of the class folders, in alphabetical order, which is that of the labels.
        train: images a class in ``train``.
        test: images a class in ``test``.
        side: the width and height of an image.
    """

    format: str
    classes: tuple[str, ...]
    train: int
    test: int
    side: int

    def read(self, folder: Path) -> Arrays | None:
        """See `Layout.read`; class after class, and in each in the order of the sorted names."""
        parts = {folder / "train": self.train, folder / "test": self.test}
        found = {part / name: self._names(part / name) for part in parts for name in self.classes}
        if not any(found.values()):
            return None
        for place, names in found.items():
            if len(names) != (wanted := parts[place.parent]):
                raise DataError(
                    f"{place} holds {len(names):,} {self.format} images, not {wanted:,}; unpack it anew"
                )
        paths = [f"{place}/{name}" for place, names in found.items() for name in names]
        images = np.empty((len(paths), self.side, self.side, 3), np.uint8)
        for i, path in enumerate(paths):
            images[i] = self._decoded(path)
        first = self.train * len(self.classes)
        train, test = (
            np.repeat(np.arange(len(self.classes), dtype=np.uint8), n) for n in parts.values()
        )
        return Arrays(images[:first], train, images[first:], test)

    def _names(self, folder: Path) -> list[str]:
        """The images in a folder; what systems leave there has names that begin with a dot."""
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names, not tens of thousands of paths
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(
            name
            for name in names
            if name.lower().endswith(_ENDINGS[self.format]) and not name.startswith(".")
        )

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
        except _DAMAGE as error:
            reason = getattr(error, "strerror", None) or f"damaged, or no {self.format}"
            raise DataError(f"{path} cannot be decoded: {reason}; unpack it anew") from None
