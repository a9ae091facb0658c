"""Loading a data set, checked."""

from __future__ import annotations

import os

import numpy as np

from flatter_lib.vision.data.datasets import Dataset
from flatter_lib.vision.data.images import Images
from flatter_lib.vision.data.layouts import DataError, Watch
from flatter_lib.vision.data.search import Location, data_root, intact, named


def load(
    name: str | Dataset = "fashion-mnist",
    root: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> Images:
    """The data set, from the first intact copy on this machine; nothing is fetched.

    An image folder is decoded once: the arrays are kept under ``cache`` in the data root, if that can be written,
    and made anew when the files change.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.
        watch: is told how many images of how many are decoded, while an image folder is.

    Raises:
        DataError: if there is no data set of that name, or no intact copy of it; the message says what to get.

    Examples:
        >>> images = load("fashion-mnist")
        >>> images.train_images.shape, images.train_images.dtype, images.test_labels[:5]
        ((60000, 28, 28), dtype('uint8'), array([9, 2, 1, 1, 6]))
    """
    dataset = named(name)
    location, arrays = intact(dataset, data_root(root), watch)
    return Images(
        arrays.train_images,
        arrays.train_labels.astype(np.int64),
        arrays.test_images,
        arrays.test_labels.astype(np.int64),
        name=dataset.name,
        source=location.label,
    )


def status(
    name: str | Dataset,
    root: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> Location | DataError:
    """The copy that `load` would use, or what is wrong and what to do; reads and checks it whole (half a second).

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.
        watch: see `load`.

    Raises:
        DataError: if there is no data set of that name.
    """
    dataset = named(name)
    try:
        return intact(dataset, data_root(root), watch)[0]
    except DataError as error:
        return error
