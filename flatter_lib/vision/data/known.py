"""The data sets that this library knows: what each is, where a copy may lie, how to fetch one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flatter_lib.vision.data import cifar, digits
from flatter_lib.vision.data.fetch import debian_package, torchvision_download
from flatter_lib.vision.data.image_folder import ImageFolder
from flatter_lib.vision.data.layouts import Arrays, Files, Layout, idx


@dataclass(frozen=True)
class Place:
    """Where a copy may lie.

    Attributes:
        label: what the copy is called in records, without a path.
        folder: in the data root, or absolute.
        layout: how the files lie in it.
    """

    label: str
    folder: str
    layout: Layout


@dataclass(frozen=True)
class Source:
    """A way to fetch a copy.

    Attributes:
        label: where it comes from, in words.
        size: how much is transferred, in words.
        fetch: fetches into an existing empty folder and returns the folder that then holds the files, in the layout
            of the data set's first place, which is `Files`; raises `DataError`.
    """

    label: str
    size: str
    fetch: Callable[[Path], Path]


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalogue.

    Attributes:
        name: what commands and `load` call it.
        title: what text calls it.
        size: what it holds, and its size on disk, in words.
        licence: under which licence, and whose it is.
        homepage: where it is published.
        places: where a copy may lie, in the order of search; what is fetched goes to the first.
        sources: how to fetch a copy, in the order of trial.
        package: the Python package that brings it and how to install that, in words; empty for one that lies in files.
    """

    name: str
    title: str
    size: str
    licence: str
    homepage: str
    places: tuple[Place, ...]
    sources: tuple[Source, ...]
    package: str = ""


def catalogue() -> tuple[Dataset, ...]:
    """The data sets that this library knows.

    Examples:
        >>> [(dataset.name, dataset.title) for dataset in catalogue()]
        [('fashion-mnist', 'Fashion-MNIST'), ('mnist', 'MNIST'), ('cifar10', 'CIFAR-10'), ('digits', 'Digits')]
    """
    return _FASHION_MNIST, _MNIST, _CIFAR10, _DIGITS


def _mnist_like(
    name: str,
    title: str,
    licence: str,
    homepage: str,
    megabytes: int,
    *sha256: str,
    debian: str = "",
) -> Dataset:
    """MNIST and those that copy its layout, with the SHA-256 of each decompressed file and Debian's package."""
    kinds = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    digests = zip((f"{kind}-ubyte" for kind in kinds), sha256, strict=True)
    layout = Files(dict(digests), lambda contents: Arrays(*map(idx, contents.values())))
    # What torchvision calls it, and where it keeps it.
    kind, home = title.replace("-", ""), f"{title.replace('-', '')}/raw"
    places = [
        Place("torchvision layout", home, layout),
        Place(f"files in the folder {name}", name, layout),
    ]
    sources = [
        Source(
            "torchvision's download", f"{megabytes} MB", partial(torchvision_download, kind, home)
        )
    ]
    if debian:
        installed = f"usr/share/datasets/{name}"
        places += [
            Place("files in the data root", "", layout),
            Place(f"Debian {debian}", f"/{installed}", layout),
        ]
        sources.append(
            Source(
                f"Debian's package {debian}",
                f"{megabytes} MB (and about 10 MB of package lists)",
                partial(debian_package, debian, installed),
            )
        )
    size = "60,000 + 10,000 grey images of 28 x 28 in ten classes, 55 MB"
    return Dataset(name, title, size, licence, homepage, tuple(places), tuple(sources))


# The checksums are those of the decompressed files in Debian's package dataset-fashion-mnist
# 0.0~git20200523.55506a9-1. That these are the publisher's own bytes was checked: putting back the file name and time
# that Debian's repacking left out of the gzip headers gives archives with exactly the four MD5s that torchvision
# 0.29 expects. The labels hold 6,000 (1,000) of each of the ten classes.
_FASHION_MNIST = _mnist_like(
    "fashion-mnist",
    "Fashion-MNIST",
    "MIT, Zalando SE 2017",
    "https://github.com/zalandoresearch/fashion-mnist",
    31,
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    debian="dataset-fashion-mnist",
)

# The checksums are those of a pixel-exact copy, written anew in the IDX layout and the original order. That these are
# the publisher's own bytes was checked: they are the SHA-256 of the decompressed files that several unrelated public
# projects state for the original archives.
_MNIST = _mnist_like(
    "mnist",
    "MNIST",
    "Yann LeCun, Corinna Cortes 1998; CC BY-SA 3.0 according to the documentation of Keras",
    "http://yann.lecun.com/exdb/mnist/",
    12,
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)

# In the alphabetical order of their names, which is that of the labels.
_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# The checksums are those by which torchvision 0.29 knows the files of the published archive.
_CIFAR10_FILES = Files(
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    cifar.decode,
)
_CIFAR10_PNG, _CIFAR10_JPEG = (
    ImageFolder(format, _CIFAR10_CLASSES, train=5_000, test=1_000, side=32)
    for format in ("PNG", "JPEG")
)

_CIFAR10 = Dataset(
    name="cifar10",
    title="CIFAR-10",
    size="50,000 + 10,000 colour images of 32 x 32 in ten classes, 186 MB",
    licence="none stated by its publisher; cite Krizhevsky 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    places=(
        Place("torchvision layout", "cifar-10-batches-py", _CIFAR10_FILES),
        Place("files in the folder cifar10", "cifar10/cifar-10-batches-py", _CIFAR10_FILES),
        Place("image folder (PNG)", "cifar10", _CIFAR10_PNG),
        Place("image folder (JPEG copy: lossy)", "cifar10", _CIFAR10_JPEG),
    ),
    sources=(
        Source(
            "torchvision's download",
            "170 MB",
            partial(torchvision_download, "CIFAR10", "cifar-10-batches-py"),
        ),
    ),
)

_DIGITS = Dataset(
    name="digits",
    title="Digits",
    size="1,437 + 360 grey images of 8 x 8 in ten classes",
    licence="Ethem Alpaydin, Cevat Kaynak 1998 (UCI), shipped with scikit-learn (BSD 3-Clause)",
    homepage="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
    places=(Place("scikit-learn's load_digits", digits.FOLDER, digits.Digits()),),
    sources=(),
    package="scikit-learn, which `pip install 'flatter-lib[book]'` installs",
)
