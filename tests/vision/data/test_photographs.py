"""Photographs in folders against torchvision's transforms, and the crops against their law, on a few small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from flatter_lib.vision.data import DataError
from flatter_lib.vision.data.photographs import MEAN, SPREAD, Photographs, crop_box

SIZES = {
    "ant/1.JPEG": (64, 48),
    "ant/2.png": (40, 90),
    "bee/1.jpg": (50, 50),
    "cat/1.jpeg": (33, 70),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs of three classes."""
    rng = np.random.default_rng(4)
    for name, (width, height) in SIZES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "ant" / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize("side", [28, 56])
def test_the_middle_is_what_torchvision_makes_of_it(folder: Path, side: int) -> None:
    steps = [transforms.Resize(side * 8 // 7), transforms.CenterCrop(side), transforms.ToTensor()]
    theirs = datasets.ImageFolder(
        folder, transforms.Compose([*steps, transforms.Normalize(MEAN, SPREAD)]), allow_empty=True
    )
    own = Photographs(folder, side)
    assert (len(own), own.classes, own.labels.tolist()) == (4, 3, [0, 0, 1, 2])
    for i in range(4):
        pixels, label = own[i, None]
        expected = theirs[i][0]
        assert pixels.shape == (3, side, side)
        assert torch.allclose(pixels, expected, atol=1e-5)
        assert label == own.labels[i]


def test_a_crop_is_cut_scaled_and_mirrored_half_the_time(folder: Path) -> None:
    own, mirrored = Photographs(folder, 24), []
    with Image.open(folder / "ant/1.JPEG") as image:
        for seed in range(64):
            generator = np.random.default_rng([7, seed])
            left, upper, right, lower = crop_box(generator, *image.size)
            plain = transforms.functional.resized_crop(
                image, upper, left, lower - upper, right - left, [24, 24]
            )
            tensor = transforms.functional.to_tensor(plain)
            standard = transforms.functional.normalize(tensor, MEAN, SPREAD)
            found, _ = own[0, (7, seed)]
            mirrored.append(not torch.allclose(found, standard, atol=1e-5))
            if mirrored[-1]:
                assert torch.allclose(found, standard.flip(-1), atol=1e-5)
    assert 20 < sum(mirrored) < 44
    assert torch.equal(own[0, (7, 3)][0], own[0, (7, 3)][0])


def test_the_law_of_the_crops() -> None:
    generator = np.random.default_rng(0)
    boxes = np.array([crop_box(generator, 2000, 2000) for _ in range(4000)])
    left, upper, right, lower = boxes.T
    width, height = right - left, lower - upper
    assert boxes.min() >= 0
    assert boxes.max() <= 2000
    shares = width * height / 2000**2
    # A large wide crop does not fit and is drawn again: the law is exact where all fit, below three quarters.
    some = shares[shares < 0.75]
    assert 0.079 < some.min() < 0.09
    assert np.quantile(some, 0.5) == pytest.approx((0.08 + 0.75) / 2, abs=0.02)
    aspects = np.log(width / height)[shares < 0.75]
    assert np.abs(aspects).max() < np.log(4 / 3) + 0.01
    assert aspects.std() == pytest.approx(np.log(4 / 3) / 3**0.5, rel=0.05)
    room = 2000 - width
    assert (left / np.maximum(room, 1)).mean() == pytest.approx(0.5, abs=0.03)
    for size, square in (((1000, 10), (495, 0, 505, 10)), ((10, 1000), (0, 495, 10, 505))):
        assert crop_box(np.random.default_rng(0), *size) == square


def test_what_is_missing_or_damaged_is_said_and_names_and_sizes_are_the_digest(
    folder: Path,
) -> None:
    with pytest.raises(DataError, match=r"no photographs in .*your own copy.* FLATTER_DATA"):
        Photographs(folder / "bee")
    before = Photographs(folder).digest
    path = folder / "bee" / "1.jpg"
    path.write_bytes(path.read_bytes()[:200])
    assert Photographs(folder).digest != before
    with pytest.raises(DataError, match=r"bee/1\.jpg cannot be decoded"):
        Photographs(folder)[2, None]
