"""Crops and flips against torchvision's, image by image with the same draws; what they leave alone."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional

from flatter_lib.vision import crop_and_flip

from ..refusals import refuses
from ..seeding import seeded


def images(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.randn(n, channels, height, width, generator=seeded(1))


def one_by_one(inputs: Tensor, generator: torch.Generator, padding: int, flip: bool) -> Tensor:
    n, _, height, width = inputs.shape
    down, right = torch.randint(0, 2 * padding + 1, (2, n), generator=generator).tolist()
    coins = torch.randint(0, 2, (n,), generator=generator).tolist() if flip else [0] * n
    outputs = []
    for i, image in enumerate(inputs):
        crop = functional.crop(functional.pad(image, [padding]), down[i], right[i], height, width)
        outputs.append(functional.hflip(crop) if coins[i] else crop)
    return torch.stack(outputs)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 1, 9])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((64, 3, 8, 6), torch.float64),
        ((64, 1, 5, 8), torch.bfloat16),
        ((1, 3, 32, 32), torch.float32),
        ((16, 3, 4, 4), torch.uint8),
    ],
)
def test_batch_is_the_loop_over_its_images(
    shape: tuple[int, int, int, int], dtype: torch.dtype, padding: int, flip: bool
) -> None:
    inputs = (10 * images(*shape)).abs().to(dtype)
    outputs = crop_and_flip(inputs, seeded(3), padding, flip)
    assert outputs.dtype == dtype
    assert torch.equal(outputs, one_by_one(inputs, seeded(3), padding, flip))
    assert crop_and_flip(inputs[:0], seeded(3), padding, flip).shape == (0, *shape[1:])


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_format_is_kept_and_changes_no_pixel(channels: int) -> None:
    inputs = images(16, channels, 8, 6)
    expected = crop_and_flip(inputs, seeded(3))
    assert expected.stride() == inputs.stride()
    moved = inputs.contiguous(memory_format=torch.channels_last)
    outputs = crop_and_flip(moved, seeded(3))
    assert outputs.stride() == moved.stride()
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(outputs, expected)


def test_inputs_and_global_generator_are_left_alone() -> None:
    inputs = images(16, 3, 8, 8)
    before, state = inputs.clone(), torch.get_rng_state()
    first, again = (crop_and_flip(inputs, seeded(3)) for _ in range(2))
    assert torch.equal(inputs, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, crop_and_flip(inputs, seeded(4)))
    crop_and_flip(inputs, seeded(3), padding=0, flip=False).zero_()
    assert torch.equal(inputs, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_another_device_sees_the_same_images() -> None:
    inputs = images(16, 3, 8, 8)
    outputs = crop_and_flip(inputs.cuda(), seeded(3))
    assert outputs.device.type == "cuda"
    assert torch.equal(outputs.cpu(), crop_and_flip(inputs, seeded(3)))


def test_bad_arguments() -> None:
    good = {"inputs": torch.zeros(2, 3, 8, 8), "generator": seeded()}
    refuses(crop_and_flip, good, inputs=torch.zeros(3, 8, 8), padding=-1, generator=None)
