"""The catalogue of image data: what there is, under which licence, where a copy may lie, how to fetch one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flatter_lib.vision.data.fetch import debian_package, torchvision_download
from flatter_lib.vision.data.layouts import IdxFile, IdxFiles, Layout


@dataclass(frozen=True)
class Place:
    """A kind of place in which a copy may lie.

    Attributes:
        label: what the copy is called in records, without a path.
        folders: data root -> the folders to look in, in order.
        layout: how the files lie in such a folder.
    """

    label: str
    folders: Callable[[Path], tuple[Path, ...]]
    layout: Layout


@dataclass(frozen=True)
class Source:
    """A way to fetch a copy.

    Attributes:
        label: where it comes from, in words.
        size: how much is transferred, in words.
        fetch: fetches into an existing empty folder and returns the folder that then holds the files, in the layout
            of the data set's first place; raises `FetchError`.
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
    """

    name: str
    title: str
    size: str
    licence: str
    homepage: str
    places: tuple[Place, ...]
    sources: tuple[Source, ...]


def catalogue() -> tuple[Dataset, ...]:
    """The data sets that this library knows.

    Examples:
        >>> [(dataset.name, dataset.title) for dataset in catalogue()]
        [('fashion-mnist', 'Fashion-MNIST')]
    """
    return (_FASHION_MNIST,)


def _in_root(folder: str) -> Callable[[Path], tuple[Path, ...]]:
    return lambda root: (root / folder,)


def _among_shared(folder: str) -> Callable[[Path], tuple[Path, ...]]:
    # A virtual environment or conda has a prefix of its own, Debian's packages are in /usr.
    shares = dict.fromkeys(
        [Path("/usr/share"), Path("/usr/local/share"), Path(sys.prefix, "share")]
    )
    return lambda root: tuple(share / folder for share in shares)


# The checksums are those of the decompressed files in Debian's package dataset-fashion-mnist
# 0.0~git20200523.55506a9-1. That these are the publisher's own bytes was checked: putting back the file name and time
# that Debian's repacking left out of the gzip headers gives archives with exactly the four MD5s that torchvision
# 0.29 expects. The labels hold 6,000 (1,000) of each of the ten classes.
_FASHION_MNIST_FILES = IdxFiles(
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

_FASHION_MNIST = Dataset(
    name="fashion-mnist",
    title="Fashion-MNIST",
    size="60,000 + 10,000 grey images of 28 x 28 in ten classes, 55 MB",
    licence="MIT, Zalando SE 2017",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    places=(
        Place("torchvision layout", _in_root("FashionMNIST/raw"), _FASHION_MNIST_FILES),
        Place("files in the folder fashion-mnist", _in_root("fashion-mnist"), _FASHION_MNIST_FILES),
        Place("files in the data root", _in_root(""), _FASHION_MNIST_FILES),
        Place(
            "Debian dataset-fashion-mnist",
            _among_shared("datasets/fashion-mnist"),
            _FASHION_MNIST_FILES,
        ),
    ),
    sources=(
        Source("torchvision's download", "31 MB", partial(torchvision_download, "FashionMNIST")),
        Source(
            "Debian's package dataset-fashion-mnist",
            "31 MB (and about 10 MB of package lists)",
            partial(debian_package, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
    ),
)
