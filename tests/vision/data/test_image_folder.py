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


# --- what is read -----------------------------------------------------------------------------------------------------


def test_every_image_is_where_it_belongs(root: Path) -> None:
    arrays = PNG.read(write(root))
    for part, pixels, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        np.testing.assert_array_equal(pixels, np.concatenate([PIXELS[part, c] for c in CLASSES]))
        assert [*labels] == [k for k, c in enumerate(CLASSES) for _ in PIXELS[part, c]]
    assert arrays.train_images.flags.writeable


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


# --- what can be wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [[], ["train/dragon"], ["train/bear", "test/bear"]])
def test_no_image_of_this_format_is_no_copy(root: Path, made: list[str], fault) -> None:
    for name in made:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE)).save(root / name / "0.jpg")
    assert PNG.read(root) is None
    assert "Tiny is missing" in fault(PNG)


@pytest.mark.parametrize(
    ("gone", "wanted"),
    [("train", 3), ("test", 2), ("train/bear", 3), ("test/bear", 2), ("test/bear/0001.png", 2)],
)
def test_images_are_missing(root: Path, gone: str, wanted: int, fault) -> None:
    path = write(root) / gone
    left = 1 if path.is_file() else 0
    path.unlink() if path.is_file() else shutil.rmtree(path)
    part, name = ([*gone.split("/"), "apple"])[:2]
    says = f"{root / part / name} holds {left} PNG images, not {wanted}; unpack it anew"
    assert says in fault(PNG)


def test_an_image_too_many(root: Path, fault) -> None:
    write(root)
    shutil.copy(root / "train/bear/0000.png", root / "train/bear/0000 (copy).png")
    assert f"{root / 'train' / 'bear'} holds 4 PNG images, not 3" in fault(PNG)


def test_a_folder_that_cannot_be_looked_into(root: Path, fault) -> None:
    place = write(root) / "test" / "chair"
    shutil.rmtree(place)
    place.symlink_to(place)
    assert f"{place} cannot be read: Too many levels of symbolic links" in fault(PNG)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "head": lambda content: content[:20],
    "empty": lambda content: b"",
    "rubbish": lambda content: b"rubbish",
    "zeros": lambda content: bytes(len(content)),
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
    ("image", "says"),
    [
        (Image.new("RGB", (5, 4)), "5 x 4 RGB, not 4 x 4 RGB"),
        (Image.new("L", (4, 4)), "4 x 4 L, not 4 x 4 RGB"),
        (Image.new("RGBA", (4, 4)), "4 x 4 RGBA, not 4 x 4 RGB"),
    ],
)
def test_another_image(root: Path, image: Image.Image, says: str, fault) -> None:
    path = write(root) / "test" / "chair" / "0001.png"
    image.save(path)
    assert f"{path} is another image: {says}" in fault(PNG)


def test_a_jpeg_under_the_name_of_a_png(root: Path, fault) -> None:
    path = write(root) / "train" / "apple" / "0002.png"
    Image.new("RGB", (SIDE, SIDE)).save(path, format="JPEG")
    assert f"{path} cannot be decoded: damaged, or no PNG; unpack it anew" in fault(PNG)


def test_a_folder_named_like_an_image(root: Path, fault) -> None:
    path = write(root) / "train" / "bear" / "0000.png"
    path.unlink()
    path.mkdir()
    assert f"{path} cannot be decoded: Is a directory; unpack it anew" in fault(PNG)
