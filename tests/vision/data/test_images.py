"""The digest that records name a data set's content by."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from flatter_lib.vision.data import Images
from flatter_lib.vision.data.images import content_hash

IMAGES = Images(
    np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    np.array([3, 1]),
    np.arange(12, dtype=np.uint8).reshape(1, 3, 4),
    np.array([2]),
    name="tiny",
    source="a copy",
)


def test_the_digest_is_that_of_shapes_and_bytes() -> None:
    content = b"(2, 3, 4)" + bytes(range(24)) + b"(2,)\3\1" + b"(1, 3, 4)" + bytes(range(12)) + b"(1,)\2"  # fmt: skip
    assert IMAGES.digest == hashlib.sha256(content).hexdigest()[:16]


def test_every_value_and_shape_counts_and_nothing_else() -> None:
    same = replace(IMAGES, name="other", source="another", train_labels=np.array([3, 1], np.int32))
    assert same.digest == IMAGES.digest
    order = np.asfortranarray(IMAGES.train_images)
    assert replace(IMAGES, train_images=order).digest == IMAGES.digest
    others = [
        replace(IMAGES, **{name: getattr(IMAGES, name) ^ 1})
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    ]
    others.append(replace(IMAGES, train_images=IMAGES.train_images.reshape(2, 4, 3)))
    assert len({IMAGES.digest, *(images.digest for images in others)}) == 6


@pytest.mark.parametrize("value", [256, -1, 0.5])
def test_what_is_no_byte_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="whole numbers in 0"):
        content_hash(np.array([value]))
