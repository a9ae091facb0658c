"""What a network is given, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flatter_lib.vision.data import Images
from flatter_lib.vision.inputs import standardized

from ..refusals import refuses


def images(*shape: int) -> Images:
    generator = np.random.default_rng(5)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = generator.integers(256, size=(count, *shape)).astype(np.uint8)
        return pixels, generator.integers(10, size=count)

    return Images(*some(30), *some(12), name="made up", source="made up")


@pytest.mark.parametrize(
    ("shape", "flat", "pool", "train"),
    [((8, 4, 3), False, 1, 20), ((6, 4, 3), False, 2, None), ((6, 6), True, 1, None)],
)
def test_inputs_are_chosen_pooled_and_standardised(
    shape: tuple[int, ...], flat: bool, pool: int, train: int | None
) -> None:
    """Flat ones pixel by pixel, with one standard deviation; images channel by channel."""
    made = images(*shape)
    found = standardized(
        made, train=train, test=5, pool=pool, flat=flat, seed=2, dtype=torch.float64
    )
    generator = np.random.default_rng(2)
    rows, rows_test = generator.permutation(30)[:train], generator.permutation(12)[:5]

    def pixels(some: np.ndarray) -> np.ndarray:
        high, wide = shape[0] // pool, shape[1] // pool
        blocks = some.reshape(len(some), high, pool, wide, pool, -1).mean((2, 4)) / 255
        return blocks.reshape(len(some), -1) if flat else blocks.transpose(0, 3, 1, 2)

    x, axes = pixels(made.train_images[rows]), 0 if flat else (0, 2, 3)
    centre = x.mean(axes, keepdims=True)
    spread = (x - centre).std(None if flat else axes, ddof=1, keepdims=True)
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(found.x.numpy(), (x - centre) / spread, **close)
    x_test = (pixels(made.test_images[rows_test]) - centre) / spread
    np.testing.assert_allclose(found.x_test.numpy(), x_test, **close)
    np.testing.assert_array_equal(found.labels.numpy(), made.train_labels[rows])
    np.testing.assert_array_equal(found.labels_test.numpy(), made.test_labels[rows_test])
    np.testing.assert_array_equal(found.targets.numpy(), np.eye(10)[made.train_labels[rows]])


@pytest.mark.parametrize("flat", [True, False])
def test_images_that_do_not_vary_are_refused(flat: bool) -> None:
    made = images(6, 4, 3)
    made.train_images[..., 1] = 7
    assert standardized(made, train=2, flat=True).x.isfinite().all()
    with pytest.raises(
        ValueError, match="train: the pixels of the 1 chosen training images do not"
    ):
        standardized(made, train=1, flat=flat)


def test_bad_arguments() -> None:
    good = {"images": images(6, 4)}
    refuses(standardized, good, train=31, test=0, pool=4, seed=None, dtype=torch.uint8)
