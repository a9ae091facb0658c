"""The handwritten digits that ship with scikit-learn: a data set for runs of seconds, without any download."""

from __future__ import annotations

import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from flatter_lib.vision.data.images import content_hash
from flatter_lib.vision.data.layouts import Arrays, DataError

#: Where packages are installed; scikit-learn is imported from wherever it is.
FOLDER = str(Path(sysconfig.get_path("purelib"), "sklearn"))
#: The `content_hash` of the four arrays with scikit-learn 1.9.
SHA256 = "0ad994755ee5bbf58e3481a6499875f950c12b2d143d13be69a6120677996da6"
#: So many are for training. As they come, not shuffled: no generator decides what is tested.
TRAIN = 1_437


class Digits:
    """``sklearn.datasets.load_digits``: grey images of 8 x 8 with values v = 0 ... 16, stored as round(255 v / 16).

    The first images, in scikit-learn's order, are for training, the others for testing.
    """

    def read(self, folder: Path) -> Arrays | None:
        """See `Layout.read`; None if scikit-learn is not installed, wherever the folder is."""
        if find_spec("sklearn") is None:
            return None
        try:
            from sklearn.datasets import load_digits  # type: ignore[import-untyped]

            values, labels = load_digits(return_X_y=True)
        except (ImportError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"scikit-learn does not load them: {reason}") from None
        images = ((255 * values.astype(np.int64) + 8) // 16).astype(np.uint8).reshape(-1, 8, 8)
        labels = labels.astype(np.uint8)
        arrays = Arrays(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:])
        if (found := content_hash(*arrays)) != SHA256:
            raise DataError(
                f"scikit-learn brings others: their SHA-256 is {found[:12]}..., not {SHA256[:12]}..."
            )
        return arrays
