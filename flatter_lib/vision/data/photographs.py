"""Photographs of any size in one folder a class, decoded when they are asked for: ImageNet, as its users unpack it.

Such data are too large for memory, and under terms that each user agrees to. So nothing is fetched here: the folder is
the user's own, ``train/<class>/*`` and ``val/<class>/*``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from flatter_lib import checks
from flatter_lib.vision.data.layouts import DataError

_ENDINGS = (".jpeg", ".jpg", ".png")
#: The mean colour and its spread over ImageNet, by which everybody standardises it.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Of the random crops of training: share of the area, and width over height.
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


class Photographs(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """One part of such a data set.

    Args:
        folder: with a folder for each class; the labels follow their sorted names.
        side: width and height in pixels of what the network is given.

    Attributes:
        paths: of the photographs, class after class, sorted.
        labels: of each, int64, (n,).
        classes: how many.

    Raises:
        DataError: if the folder has no photographs in folders of their classes.
        ValueError: if ``side`` is below 1.
    """

    def __init__(self, folder: str | os.PathLike[str], side: int = 224) -> None:
        self.side = checks.count("side", side)
        self._folder = Path(folder)
        names = sorted(p.name for p in self._folder.glob("*") if p.is_dir() and p.name[0] != ".")
        found = [
            sorted(p for p in (self._folder / name).iterdir() if p.suffix.lower() in _ENDINGS)
            for name in names
        ]
        self.classes = len(names)
        self.paths = [path for paths in found for path in paths]
        self.labels = np.repeat(np.arange(len(names)), [len(paths) for paths in found])
        if not self.paths:
            raise DataError(
                f"no photographs in {folder}: put there a folder for each class with its JPEG or PNG files, from your "
                "own copy of the data, or set FLATTER_DATA to another data root"
            )

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that the names and the sizes of the files decide; their contents are not read."""
        found = hashlib.sha256()
        for path in self.paths:
            size = path.stat().st_size
            found.update(f"{path.relative_to(self._folder).as_posix()} {size}\n".encode())
        return found.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, asked: tuple[int, Sequence[int] | None]) -> tuple[Tensor, int]:
        """A photograph, standardised, (3, side, side), and its label.

        Args:
            asked: which, and the seed of a random crop and flip; None for the middle of the photograph, which is first
                made so large that its shorter side has 256 pixels where the network is given 224.

        Raises:
            DataError: if the file cannot be decoded.
        """
        index, seed = asked
        try:
            with Image.open(self.paths[index]) as file:
                image = file.convert("RGB")
        except Exception:  # the bytes of others: Pillow raises what its decoders do
            raise DataError(f"{self.paths[index]} cannot be decoded; unpack it anew") from None
        if seed is None:
            image = _middle(image, self.side)
        else:
            generator = np.random.default_rng(list(seed))
            box = crop_box(generator, *image.size)
            image = image.crop(box).resize((self.side, self.side), Image.Resampling.BILINEAR)
            if generator.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = (np.asarray(image) / 255 - MEAN) / SPREAD
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1), int(self.labels[index])


def crop_box(generator: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """A random part of a photograph: left, upper, right and lower edge.

    Its share of the area is uniform in `AREA`, the logarithm of its width over its height in that of `ASPECT`, and its
    place is uniform: the customary augmentation for ImageNet (Szegedy et al. 2014, arXiv:1409.4842, Section 6). After
    ten draws that do not fit, it is the largest square in the middle.

    Examples:
        >>> crop_box(np.random.default_rng(0), 500, 375)
        (65, 166, 194, 337)
    """
    for _ in range(10):
        area = width * height * generator.uniform(*AREA)
        aspect = np.exp(generator.uniform(*np.log(ASPECT)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(width - w + 1))
            upper = int(generator.integers(height - h + 1))
            return left, upper, left + w, upper + h
    least = min(width, height)
    left, upper = (width - least) // 2, (height - least) // 2
    return left, upper, left + least, upper + least


def _middle(image: Image.Image, side: int) -> Image.Image:
    """The middle square, with a margin of a seventh of the side on the whole shorter side."""
    scale = round(side * 256 / 224) / min(image.size)
    width, height = (max(side, int(length * scale)) for length in image.size)
    left, upper = round((width - side) / 2), round((height - side) / 2)
    larger = image.resize((width, height), Image.Resampling.BILINEAR)
    return larger.crop((left, upper, left + side, upper + side))
