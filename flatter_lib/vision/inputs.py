"""Images as what a network is given: a few of them, made coarser if wanted, standardised, with one-hot targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot

from flatter_lib import checks

if TYPE_CHECKING:
    from flatter_lib.vision.data import Images

#: Of every data set of the catalogue.
CLASSES = 10


class Inputs(NamedTuple):
    """Training and test images of one experiment.

    Attributes:
        x: training inputs, (n, channels, height, width), or (n, pixels) if flat.
        labels: their classes, int64, (n,).
        targets: the same, one-hot, (n, 10), in the inputs' dtype.
        x_test: test inputs, standardised as the training inputs are.
        labels_test: their classes, int64.
    """

    x: Tensor
    labels: Tensor
    targets: Tensor
    x_test: Tensor
    labels_test: Tensor


def standardized(
    images: Images,
    *,
    train: int | None = None,
    test: int | None = None,
    pool: int = 1,
    flat: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Inputs:
    r"""Choose images at random, and centre and scale their pixels by the chosen training images.

    Flat inputs are centred pixel by pixel and divided by one standard deviation, that of all pixels; images are
    centred and divided channel by channel, as is usual for convolutions. Whatever is drawn depends on ``seed`` alone.

    Args:
        images: a data set.
        train: how many training images; None for all of them.
        test: how many test images; None for all of them.
        pool: side of the blocks of pixels that are averaged into one; must divide the side of the images.
        flat: whether an input is a row of pixels, as for an MLP, or channels x height x width.
        seed: of the choice.
        device: where the tensors are.
        dtype: of inputs and targets.

    Raises:
        ValueError: if there are not as many images, their pixels do not vary, ``pool`` does not divide their side, or
            ``dtype`` is an integer one.

    Examples:
        >>> from flatter_lib.vision.data import Images
        >>> grey = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
        >>> labels = np.array([3, 1, 4, 1])
        >>> few = standardized(Images(grey, labels, grey, labels, name="toy", source="made up"), train=2, pool=3)
        >>> few.x.shape, few.targets.argmax(-1).equal(few.labels), abs(few.x.mean().item()) < 1e-6
        (torch.Size([2, 1, 2, 2]), True, True)
    """
    generator = np.random.default_rng(checks.count("seed", seed, 0))
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: must be a floating one, got {dtype}")
    drawn = []
    for name, wanted, pixels, classes in (
        ("train", train, images.train_images, images.train_labels),
        ("test", test, images.test_images, images.test_labels),
    ):
        if wanted is not None:
            checks.count(name, wanted, most=len(classes))
        rows = generator.permutation(len(classes))[:wanted]
        drawn += [_pixels(pixels[rows], pool).to(device, dtype), torch.from_numpy(classes[rows])]
    x, labels, x_test, labels_test = drawn
    if flat:
        x, x_test = x.flatten(1), x_test.flatten(1)
        centre = x.mean(0)
        spread = (x - centre).std()
    else:
        spread, centre = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
    if not bool((spread > 0).all()):
        raise ValueError(
            f"train: the pixels of the {len(x)} chosen training images do not vary, so that nothing "
            "divides them; choose more"
        )
    labels = labels.to(device)
    targets = one_hot(labels, CLASSES).to(dtype)
    x_test = (x_test - centre) / spread
    return Inputs((x - centre) / spread, labels, targets, x_test, labels_test.to(device))


def _pixels(images: NDArray[np.uint8], pool: int) -> Tensor:
    """Channels x height x width, in [0, 1], float32."""
    side: Any = images.shape[1:3]
    if any(length % checks.count("pool", pool) for length in side):
        raise ValueError(f"pool: must divide {' and '.join(map(str, side))}, got {pool}")
    stacked = torch.from_numpy(images).reshape(len(images), *side, -1).permute(0, 3, 1, 2)
    return avg_pool2d(stacked.contiguous().float() / 255, pool)
