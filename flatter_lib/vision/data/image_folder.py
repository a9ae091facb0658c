"""Image files in one folder a class, ``train/<class>/*`` and ``test/<class>/*``: torchvision's ``ImageFolder``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flatter_lib.vision.data.layouts import Arrays, DataError

_ENDINGS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg")}


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
        wanted = {
            folder / part / name: count
            for part, count in (("train", self.train), ("test", self.test))
            for name in self.classes
        }
        found = {place: self._images(place) for place in wanted}
        if not any(found.values()):
            return None
        for place, paths in found.items():
            if len(paths) != wanted[place]:
                raise DataError(
                    f"{place} holds {len(paths):,} {self.format} images, not {wanted[place]:,}; unpack it anew"
                )
        images = np.stack([self._decoded(path) for paths in found.values() for path in paths])
        first, labels = self.train * len(self.classes), np.arange(len(self.classes), dtype=np.uint8)
        train, test = np.repeat(labels, self.train), np.repeat(labels, self.test)
        return Arrays(images[:first], train, images[first:], test)

    def _images(self, place: Path) -> list[Path]:
        """Of a folder; what systems leave there has names that begin with a dot."""
        if not place.is_dir():
            return []
        return sorted(
            path
            for path in place.iterdir()
            if path.suffix.lower() in _ENDINGS[self.format] and not path.name.startswith(".")
        )

    def _decoded(self, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path, formats=(self.format,)) as image:
                # Before the pixels are unpacked: a small file can claim to be an enormous image.
                if image.size == (self.side, self.side) and image.mode == "RGB":
                    return np.asarray(image)
                width, height = image.size
                fault = f"is another image: {width} x {height} {image.mode}, not {self.side} x {self.side} RGB"
        except Exception:  # the bytes of others: Pillow raises what its decoders do
            fault = f"cannot be decoded: damaged, or no {self.format}"
        raise DataError(f"{path} {fault}; unpack it anew")
