"""The handwritten digits that ship with scikit-learn: a data set for runs of seconds, without any download."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from flatter_lib.vision.data.images import content_hash
from flatter_lib.vision.data.layouts import Arrays, DataError


def package_folder(root: Path) -> tuple[Path, ...]:
    """Where scikit-learn is installed; empty if it is not. The data root plays no part."""
    spec = find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    return tuple(map(Path, places or ()))


@dataclass(frozen=True)
class Digits:
    """``sklearn.datasets.load_digits``: grey images of 8 x 8 with values v = 0 ... 16, stored as round(255 v / 16).

    The first images, in scikit-learn's order, are for training, the others for testing.

    Attributes:
        train: how many are for training.
        sha256: the `content_hash` of the four arrays.
    """

    train: int
    sha256: str

    def present(self, folder: Path) -> bool:
        """Whether the package is there; it is not imported."""
        return folder.is_dir()

    def complete(self, folder: Path) -> bool:
        """Whether the package is there; it is not imported."""
        return folder.is_dir()

    def read(self, folder: Path) -> Arrays:
        """The four arrays, checked.

        Raises:
            DataError: if scikit-learn does not work, or its digits are not those that they were.
        """
        try:
            from sklearn.datasets import load_digits  # type: ignore[import-untyped]

            values, labels = load_digits(return_X_y=True)
        except (ImportError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"scikit-learn in {folder} does not load them: {reason}") from None
        pixels = ((255 * values.astype(np.int64) + 8) // 16).astype(np.uint8).reshape(-1, 8, 8)
        classes = labels.astype(np.uint8)
        n = self.train
        arrays = Arrays(pixels[:n], classes[:n], pixels[n:], classes[n:])
        found = content_hash(*arrays)
        if found != self.sha256:
            raise DataError(
                f"{folder} is altered: the SHA-256 of its digits is {found[:12]}..., not {self.sha256[:12]}..."
            )
        return arrays
