"""What a network is given, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flatter_lib.vision.data import Images
from flatter_lib.vision.inputs import standardized


def images(*shape: int) -> Images:
    generator = np.random.default_rng(5)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = generator.integers(256, size=(count, *shape)).astype(np.uint8)
        return pixels, generator.integers(10, size=count)

    return Images(*some(30), *some(12), name="made up", source="made up")


def chosen(seed: int, train: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.permutation(30)[:train], generator.permutation(12)[:test]


def test_colour_images_are_standardised_channel_by_channel() -> None:
    made = images(8, 4, 3)
    found = standardized(made, train=20, test=5, seed=2, dtype=torch.float64)
    rows, rows_test = chosen(2, 20, 5)
    pixels = made.train_images[rows].transpose(0, 3, 1, 2) / 255
    centre, spread = (
        pixels.mean((0, 2, 3), keepdims=True),
        pixels.std((0, 2, 3), ddof=1, keepdims=True),
    )
    np.testing.assert_allclose(found.x.numpy(), (pixels - centre) / spread, rtol=1e-5, atol=1e-6)
    tested = made.test_images[rows_test].transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(
        found.x_test.numpy(), (tested - centre) / spread, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(found.labels.numpy(), made.train_labels[rows])
    np.testing.assert_array_equal(found.labels_test.numpy(), made.test_labels[rows_test])
    np.testing.assert_array_equal(found.targets.numpy(), np.eye(10)[made.train_labels[rows]])


def test_flat_images_are_centred_pixel_by_pixel() -> None:
    made = images(6, 6)
    found = standardized(made, flat=True, dtype=torch.float64)
    rows, rows_test = chosen(0, 30, 12)
    pixels = made.train_images[rows].reshape(30, 36) / 255
    centred = pixels - pixels.mean(0)
    spread = centred.std(ddof=1)
    np.testing.assert_allclose(found.x.numpy(), centred / spread, rtol=1e-5, atol=1e-6)
    tested = made.test_images[rows_test].reshape(12, 36) / 255
    np.testing.assert_allclose(
        found.x_test.numpy(), (tested - pixels.mean(0)) / spread, rtol=1e-5, atol=1e-6
    )


def test_pooling_averages_blocks() -> None:
    made = images(6, 4, 3)
    coarse = standardized(made, pool=2, dtype=torch.float64).x
    rows, _ = chosen(0, 30, 12)
    blocks = (
        made.train_images[rows].reshape(30, 3, 2, 2, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2) / 255
    )
    centre, spread = (
        blocks.mean((0, 2, 3), keepdims=True),
        blocks.std((0, 2, 3), ddof=1, keepdims=True),
    )
    np.testing.assert_allclose(coarse.numpy(), (blocks - centre) / spread, rtol=1e-5, atol=1e-5)


def test_what_is_refused() -> None:
    made = images(6, 4)
    with pytest.raises(ValueError, match="train: must be an integer from 1 to 30, got 31"):
        standardized(made, train=31)
    with pytest.raises(ValueError, match="test: must be an integer from 1 to 12, got 0"):
        standardized(made, test=0)
    with pytest.raises(ValueError, match="pool: must divide 6 and 4, got 4"):
        standardized(made, pool=4)
    with pytest.raises(ValueError, match="pool: must be an integer from 1, got 0"):
        standardized(made, pool=0)
    with pytest.raises(ValueError, match=r"dtype: must be a floating one, got torch.uint8"):
        standardized(made, dtype=torch.uint8)


@pytest.mark.parametrize("flat", [True, False])
def test_images_that_do_not_vary_are_refused(flat: bool) -> None:
    made = images(6, 4, 3)
    made.train_images[..., 1] = 7
    assert standardized(made, train=2, flat=True).x.isfinite().all()
    with pytest.raises(
        ValueError, match="train: the pixels of the 1 chosen training images do not"
    ):
        standardized(made, train=1, flat=flat)
