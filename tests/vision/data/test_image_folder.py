"""Image folders, on a few images of 4 x 4."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PosixPath

import numpy as np
import pytest
from PIL import Image

from flatter_lib.vision.data import DataError, available, find, load
from flatter_lib.vision.data.datasets import Dataset
from flatter_lib.vision.data.image_folder import ImageFolder
from flatter_lib.vision.data.known import catalogue
from flatter_lib.vision.data.layouts import Layout

CLASSES = ("apple", "bear", "chair")
TRAIN, TEST, SIDE = 3, 2, 4
PNG = ImageFolder("PNG", (".png",), CLASSES, TRAIN, TEST, SIDE)
JPEG = ImageFolder("JPEG", (".jpg", ".jpeg"), CLASSES, TRAIN, TEST, SIDE)
rng = np.random.default_rng(2)
PIXELS = {
    (part, name): rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    for part, n in (("train", TRAIN), ("test", TEST))
    for name in CLASSES
}

Fault = Callable[[Dataset, Path], str]


def write(folder: Path, ending: str = ".png") -> Path:
    """A copy in a folder, its files made in another order than that of their names."""
    for (part, name), images in reversed(PIXELS.items()):
        (folder / part / name).mkdir(parents=True)
        for i, image in reversed([*enumerate(images)]):
            Image.fromarray(image).save(folder / part / name / f"{i:04}{ending}")
    return folder


@pytest.fixture
def tiny(lying: Callable[[Layout, str], Dataset]) -> Dataset:
    return lying(PNG, "tiny")


@pytest.fixture
def copy(root: Path) -> Path:
    return write(root / "tiny")


# --- what is read -----------------------------------------------------------------------------------------------------


def test_every_image_is_where_it_belongs(tiny: Dataset, root: Path, copy: Path) -> None:
    images = load(tiny, root)
    for part, pixels, labels in (
        ("train", images.train_images, images.train_labels),
        ("test", images.test_images, images.test_labels),
    ):
        np.testing.assert_array_equal(pixels, np.concatenate([PIXELS[part, c] for c in CLASSES]))
        assert [*labels] == [k for k, c in enumerate(CLASSES) for _ in PIXELS[part, c]]
    assert images.train_images.flags.writeable


@pytest.mark.parametrize(("layout", "ending"), [(PNG, ".png"), (JPEG, ".jpg"), (JPEG, ".JPEG")])
def test_torchvision_reads_the_same(tmp_path: Path, layout: ImageFolder, ending: str) -> None:
    from torchvision import datasets

    write(tmp_path, ending)
    arrays = layout.read(tmp_path)
    for part, pixels, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        theirs = datasets.ImageFolder(tmp_path / part)
        assert tuple(theirs.classes) == layout.classes
        np.testing.assert_array_equal(pixels, [np.asarray(image) for image, _ in theirs])
        np.testing.assert_array_equal(labels, theirs.targets)


def test_what_systems_leave_is_passed_over(tiny: Dataset, root: Path, copy: Path) -> None:
    before = load(tiny, root).digest
    (copy / ".DS_Store").touch()
    (copy / "train" / ".cache").mkdir()
    (copy / "train" / "bear" / "._0000.png").write_bytes(b"")
    assert load(tiny, root).digest == before


def test_whoever_watches_is_told_of_every_few_images_and_the_last(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatter_lib.vision.data.image_folder._EVERY", 4)
    heard: list[tuple[int, int]] = []
    PNG.read(copy, lambda done, total: heard.append((done, total)))
    assert heard == [(4, 15), (8, 15), (12, 15), (15, 15)]


def test_the_signature_follows_names_sizes_times_decoder_and_what_is_expected(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / "train" / "bear" / "0001.png"
    stat = path.stat()
    seen = [PNG.signature(copy)]
    assert PNG.signature(copy) == seen[0]
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    seen.append(PNG.signature(copy))
    with path.open("ab") as file:
        file.write(b"\0")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    seen.append(PNG.signature(copy))
    path.rename(path.with_name("0001b.png"))
    seen.append(PNG.signature(copy))
    seen.append(replace(PNG, side=5).signature(copy))
    monkeypatch.setattr("flatter_lib.vision.data.image_folder.version", lambda name: "another")
    seen.append(PNG.signature(copy))
    assert len({*seen}) == len(seen)


def test_a_signature_needs_every_image(copy: Path) -> None:
    (copy / "train" / "bear" / "0001.png").unlink()
    with pytest.raises(DataError, match="holds 2 images, not 3"):
        PNG.signature(copy)


# --- what can be wrong: the folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_folder_is_missing(
    tiny: Dataset, root: Path, copy: Path, part: str, fault: Fault
) -> None:
    shutil.rmtree(copy / part / "bear")
    message = fault(tiny, root)
    assert message.startswith(f"Tiny is damaged: {copy / part} lacks the class folder bear; unpack")
    assert not available(tiny, root)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_is_missing(tiny: Dataset, root: Path, copy: Path, part: str, fault: Fault) -> None:
    shutil.rmtree(copy / part)
    assert f"{copy} holds no folder {part}: sort it as train/<class>/* and" in fault(tiny, root)


def test_classes_without_train_and_test(
    tiny: Dataset, root: Path, copy: Path, fault: Fault
) -> None:
    for name in CLASSES:
        (copy / "train" / name).rename(copy / name)
    shutil.rmtree(copy / "train")
    shutil.rmtree(copy / "test")
    assert f"{copy} holds no folder train: sort it as train/<class>/* and" in fault(tiny, root)


def test_a_flat_folder_of_images(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    (copy / "train" / "bear" / "0000.png").rename(copy / "0000.png")
    shutil.rmtree(copy / "train")
    shutil.rmtree(copy / "test")
    says = f"{copy} holds images directly, no folder train: sort it as train/<class>/* and"
    assert says in fault(tiny, root)
    assert not available(tiny, root)


def test_images_without_folders_of_classes(
    tiny: Dataset, root: Path, copy: Path, fault: Fault
) -> None:
    (copy / "train" / "bear" / "0000.png").rename(copy / "test" / "0000.png")
    for name in CLASSES:
        shutil.rmtree(copy / "test" / name)
    assert f"{copy / 'test'} holds images directly, no folders of classes" in fault(tiny, root)


def test_one_folder_too_deep(tiny: Dataset, root: Path, fault: Fault) -> None:
    deeper = write(root / "tiny" / "unpacked")
    says = f"{deeper} is one folder too deep: move its train and test up into {root / 'tiny'}"
    assert says in fault(tiny, root)
    assert not available(tiny, root)


def test_a_folder_that_is_no_class(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    (copy / "train" / "dragon").mkdir()
    assert f"{copy / 'train' / 'dragon'} is none of the classes: move it" in fault(tiny, root)


def test_a_folder_among_the_images(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    (copy / "train" / "bear" / "more.png").mkdir()
    assert f"{copy / 'train' / 'bear' / 'more.png'} is a folder among the images" in fault(
        tiny, root
    )


@pytest.mark.parametrize(("part", "here", "wanted"), [("train", 2, 3), ("test", 1, 2)])
def test_an_image_is_missing(
    tiny: Dataset, root: Path, copy: Path, part: str, here: int, wanted: int, fault: Fault
) -> None:
    (copy / part / "chair" / "0000.png").unlink()
    says = f"{copy / part / 'chair'} holds {here} images, not {wanted}; unpack it anew"
    assert says in fault(tiny, root)
    assert not available(tiny, root)


def test_an_image_too_many(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    shutil.copy(copy / "train/bear/0000.png", copy / "train/bear/0000 (copy).png")
    assert f"{copy / 'train' / 'bear'} holds 4 images, not 3" in fault(tiny, root)


def test_a_folder_that_cannot_be_searched_counts_as_there() -> None:
    class Locked(PosixPath):  # by its class, since for root no folder is locked
        def is_dir(self) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

    assert PNG.present(Locked("/locked"))
    for ask in (PNG.read, PNG.signature):
        with pytest.raises(DataError, match=r"^/locked/train cannot be read: Permission denied$"):
            ask(Locked("/locked"))


# --- what can be wrong: a file ----------------------------------------------------------------------------------------


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "head": lambda content: content[:20],
    "empty": lambda content: b"",
    "rubbish": lambda content: b"rubbish",
    "zeros": lambda content: bytes(len(content)),
    "altered": lambda content: content[:41] + bytes(20) + content[61:],
}


@pytest.mark.parametrize(
    ("layout", "ending", "change"),
    [
        *((PNG, ".png", change) for change in DAMAGES.values()),
        # A JPEG has no checksum: some alterations are only other pixels.
        *((JPEG, ".jpg", change) for name, change in DAMAGES.items() if name != "altered"),
    ],
    ids=[*(f"PNG {name}" for name in DAMAGES), *(f"JPEG {name}" for name in [*DAMAGES][:-1])],
)
def test_a_damaged_file(
    lying: Callable[[Layout, str], Dataset], root: Path, layout: ImageFolder, ending: str,
    change: Callable[[bytes], bytes], fault: Fault,
) -> None:  # fmt: skip
    path = write(root / "tiny", ending) / "train" / "bear" / f"0001{ending}"
    path.write_bytes(change(path.read_bytes()))
    message = fault(lying(layout, "tiny"), root)
    assert message.startswith(f"Tiny is damaged: {path} ")
    assert "; unpack it anew; run `flatter data get tiny`" in message


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("RGB", (5, 4)), "5 x 4 RGB, not 4 x 4 RGB"),
        (Image.new("RGB", (4, 8)), "4 x 8 RGB, not 4 x 4 RGB"),
        (Image.new("L", (4, 4)), "4 x 4 L, not 4 x 4 RGB"),
        (Image.new("RGBA", (4, 4)), "4 x 4 RGBA, not 4 x 4 RGB"),
    ],
)
def test_another_image(
    tiny: Dataset, root: Path, copy: Path, image: Image.Image, says: str, fault: Fault
) -> None:
    path = copy / "test" / "chair" / "0001.png"
    image.save(path)
    assert f"{path} is another image: {says}" in fault(tiny, root)


def test_a_jpeg_under_the_name_of_a_png(
    tiny: Dataset, root: Path, copy: Path, fault: Fault
) -> None:
    path = copy / "train" / "apple" / "0002.png"
    Image.new("RGB", (SIDE, SIDE)).save(path, format="JPEG")
    assert f"{path} is damaged, or no PNG; unpack it anew" in fault(tiny, root)


def test_another_file_among_the_images(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    (copy / "test" / "bear" / "0001.png").rename(copy / "test" / "bear" / "labels.txt")
    assert f"{copy / 'test' / 'bear' / 'labels.txt'} is no PNG file: move it" in fault(tiny, root)


def test_a_file_that_cannot_be_read(tiny: Dataset, root: Path, copy: Path, fault: Fault) -> None:
    path = copy / "train" / "bear" / "0000.png"
    path.unlink()
    path.symlink_to(path)
    assert f"{path} cannot be read: Too many levels of symbolic links" in fault(tiny, root)


# --- the places of CIFAR-10 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["cifar10", "cifar-10", "CIFAR10", ""])
@pytest.mark.parametrize(
    ("ending", "label"),
    [(".png", "image folder (PNG)"), (".jpg", "image folder (JPEG copy: lossy)")],
)
def test_where_an_image_folder_of_cifar_is_looked_for(
    root: Path, folder: str, ending: str, label: str
) -> None:
    (cifar,) = (dataset for dataset in catalogue() if dataset.name == "cifar10")
    layout = replace(JPEG, classes=("airplane", "bear", "chair"))
    tiny = replace(
        cifar,
        places=tuple(
            replace(p, layout=replace(p.layout, classes=layout.classes, train=3, test=2, side=4))
            for p in cifar.places
            if isinstance(p.layout, ImageFolder)
        ),
    )
    assert find(tiny, root) == ()
    write(root / folder, ending)
    for part in ("train", "test"):
        (root / folder / part / "apple").rename(root / folder / part / "airplane")
    assert load(tiny, root).source == label
    assert available(tiny, root)


def test_another_folder_named_train_in_the_root_is_none_of_our_business(root: Path) -> None:
    write(root)
    assert find("cifar10", root) == ()
    assert not available("cifar10", root)
