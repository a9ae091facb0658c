"""Image folders, on a few images of 4 x 4."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flatter_lib.vision.data import catalogue, load
from flatter_lib.vision.data.image_folder import ImageFolder

CLASSES = ("apple", "bear", "chair")
SIDE = 4
PNG, JPEG = (ImageFolder(name, CLASSES, train=3, test=2, side=SIDE) for name in ("PNG", "JPEG"))
rng = np.random.default_rng(2)
PIXELS = {
    (part, name): rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    for part, n in (("train", 3), ("test", 2))
    for name in CLASSES
}


def write(folder: Path, ending: str = ".png") -> Path:
    """A copy in a folder, its files made in another order than that of their names."""
    for (part, name), images in reversed(PIXELS.items()):
        (folder / part / name).mkdir(parents=True)
        for i, image in reversed([*enumerate(images)]):
            Image.fromarray(image).save(folder / part / name / f"{i:04}{ending}")
    return folder


@pytest.mark.parametrize(("layout", "ending"), [(PNG, ".png"), (JPEG, ".jpg"), (JPEG, ".JPEG")])
def test_torchvision_reads_the_same(root: Path, layout: ImageFolder, ending: str) -> None:
    from torchvision import datasets

    arrays = layout.read(write(root, ending))
    for part, pixels, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        theirs = datasets.ImageFolder(root / part)
        assert tuple(theirs.classes) == layout.classes
        np.testing.assert_array_equal(pixels, [np.asarray(image) for image, _ in theirs])
        np.testing.assert_array_equal(labels, theirs.targets)
        if layout is PNG:
            own = [PIXELS[part, name] for name in CLASSES]
            np.testing.assert_array_equal(pixels, np.concatenate(own))
    assert arrays.train_images.flags.writeable


def test_what_systems_leave_is_passed_over(root: Path) -> None:
    before = PNG.read(write(root))
    (root / ".DS_Store").touch()
    (root / "train" / ".cache").mkdir()
    (root / "train" / "bear" / "._0000.png").write_bytes(b"")
    (root / "train" / "bear" / "labels.txt").touch()
    for array, expected in zip(PNG.read(root), before, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("ending", "label"),
    [(".png", "image folder (PNG)"), (".jpg", "image folder (JPEG copy: lossy)")],
)
def test_a_copy_of_cifar_says_whether_it_is_lossy(root: Path, ending: str, label: str) -> None:
    (cifar,) = (dataset for dataset in catalogue() if dataset.name == "cifar10")
    layouts = {"image folder (PNG)": PNG, "image folder (JPEG copy: lossy)": JPEG}
    places = [replace(p, layout=layouts.get(p.label, p.layout)) for p in cifar.places]
    write(root / "cifar10", ending)
    assert load(replace(cifar, places=tuple(places)), root).source == label


@pytest.mark.parametrize("made", [[], ["train/dragon"], ["train/bear", "test/bear"]])
def test_no_image_of_this_format_is_no_copy(root: Path, made: list[str], fault) -> None:
    for name in made:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE)).save(root / name / "0.jpg")
    assert PNG.read(root) is None
    assert "Tiny is missing" in fault(PNG)


@pytest.mark.parametrize(
    ("place", "left", "wanted"), [("train/bear", 0, 3), ("test/bear", 1, 2), ("train/bear", 4, 3)]
)
def test_images_are_missing_or_too_many(
    root: Path, place: str, left: int, wanted: int, fault
) -> None:
    folder = write(root) / place
    if left > wanted:
        shutil.copy(folder / "0000.png", folder / "0000 (copy).png")
    elif left:
        (folder / "0001.png").unlink()
    else:
        shutil.rmtree(folder)
    assert f"{folder} holds {left} PNG images, not {wanted}; unpack it anew" in fault(PNG)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "rubbish": lambda content: b"rubbish",
    "altered": lambda content: content[:41] + bytes(20) + content[61:],
}


@pytest.mark.parametrize(
    ("layout", "ending", "damage"),
    [
        *((PNG, ".png", damage) for damage in DAMAGES),
        # A JPEG has no checksum: some alterations are only other pixels.
        *((JPEG, ".jpg", damage) for damage in DAMAGES if damage != "altered"),
    ],
)
def test_a_damaged_file(root: Path, layout: ImageFolder, ending: str, damage: str, fault) -> None:
    path = write(root, ending) / "train" / "bear" / f"0001{ending}"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    says = f"Tiny is damaged: {path} cannot be decoded: damaged, or no {layout.format}; unpack it"
    assert says in fault(layout)


@pytest.mark.parametrize(
    ("mode", "size", "kind", "says"),
    [
        ("RGB", (5, 4), "PNG", "is another image: 5 x 4 RGB, not 4 x 4 RGB"),
        ("L", (4, 4), "PNG", "is another image: 4 x 4 L, not 4 x 4 RGB"),
        ("RGB", (4, 4), "JPEG", "cannot be decoded: damaged, or no PNG"),
    ],
)
def test_another_image(
    root: Path, mode: str, size: tuple[int, int], kind: str, says: str, fault
) -> None:
    path = write(root) / "test" / "chair" / "0001.png"
    Image.new(mode, size).save(path, format=kind)
    assert f"{path} {says}; unpack it anew" in fault(PNG)
