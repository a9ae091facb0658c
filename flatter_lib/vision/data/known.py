"""The data sets that this library knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flatter_lib.vision.data.cifar_batches import Batch, CifarBatches
from flatter_lib.vision.data.datasets import Dataset, Place, Source
from flatter_lib.vision.data.digits import Digits, package_folder
from flatter_lib.vision.data.fetch import debian_package, torchvision_download
from flatter_lib.vision.data.idx_files import IdxFile, IdxFiles
from flatter_lib.vision.data.image_folder import ImageFolder


def catalogue() -> tuple[Dataset, ...]:
    """The data sets that this library knows.

    Examples:
        >>> [(dataset.name, dataset.title) for dataset in catalogue()]
        [('fashion-mnist', 'Fashion-MNIST'), ('mnist', 'MNIST'), ('cifar10', 'CIFAR-10'), ('digits', 'Digits')]
    """
    return _FASHION_MNIST, _MNIST, _CIFAR10, _DIGITS


def _in_root(*folders: str) -> Callable[[Path], tuple[Path, ...]]:
    return lambda root: tuple(root / folder for folder in folders)


def _among_shared(folder: str) -> Callable[[Path], tuple[Path, ...]]:
    # A virtual environment or conda has a prefix of its own, Debian's packages are in /usr.
    shares = dict.fromkeys(
        [Path("/usr/share"), Path("/usr/local/share"), Path(sys.prefix, "share")]
    )
    return lambda root: tuple(share / folder for share in shares)


def _mnist_like(
    train_images: str, train_labels: str, test_images: str, test_labels: str
) -> IdxFiles:
    """The layout of MNIST and those that copy it, with the SHA-256 of each decompressed file."""
    return IdxFiles(
        IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), train_images),
        IdxFile("train-labels-idx1-ubyte", (60_000,), train_labels),
        IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), test_images),
        IdxFile("t10k-labels-idx1-ubyte", (10_000,), test_labels),
    )


# The checksums are those of the decompressed files in Debian's package dataset-fashion-mnist
# 0.0~git20200523.55506a9-1. That these are the publisher's own bytes was checked: putting back the file name and time
# that Debian's repacking left out of the gzip headers gives archives with exactly the four MD5s that torchvision
# 0.29 expects. The labels hold 6,000 (1,000) of each of the ten classes.
_FASHION_MNIST_FILES = _mnist_like(
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
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
        Source(
            "torchvision's download",
            "31 MB",
            partial(torchvision_download, "FashionMNIST", "FashionMNIST/raw"),
        ),
        Source(
            "Debian's package dataset-fashion-mnist",
            "31 MB (and about 10 MB of package lists)",
            partial(debian_package, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
    ),
)

# The checksums are those of a pixel-exact copy, written anew in the IDX layout and the original order. That these are
# the publisher's own bytes was checked: they are the SHA-256 of the decompressed files that several unrelated public
# projects state for the original archives.
_MNIST_FILES = _mnist_like(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)

_MNIST = Dataset(
    name="mnist",
    title="MNIST",
    size="60,000 + 10,000 grey images of 28 x 28 in ten classes, 55 MB",
    licence="Yann LeCun, Corinna Cortes 1998; CC BY-SA 3.0 according to the documentation of Keras",
    homepage="http://yann.lecun.com/exdb/mnist/",
    places=(
        Place("torchvision layout", _in_root("MNIST/raw"), _MNIST_FILES),
        Place("files in the folder mnist", _in_root("mnist"), _MNIST_FILES),
    ),
    sources=(
        Source(
            "torchvision's download", "12 MB", partial(torchvision_download, "MNIST", "MNIST/raw")
        ),
    ),
)

# In the alphabetical order of their names, which is that of the labels.
_CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# The checksums are those by which torchvision 0.29 knows the files of the published archive.
_CIFAR10_BATCHES = CifarBatches(
    train=(
        Batch("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        Batch("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        Batch("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        Batch("data_batch_4", "634d18415352ddfa80567beed471001a"),
        Batch("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    test=(Batch("test_batch", "40351d587109b95175f43aff81a1287e"),),
    meta=Batch("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    classes=_CIFAR10_CLASSES,
    images=10_000,
    side=32,
    archive="cifar-10-python.tar.gz",
)
_CIFAR10_PNG = ImageFolder(
    format="PNG", endings=(".png",), classes=_CIFAR10_CLASSES, train=5_000, test=1_000, side=32
)
_CIFAR10_JPEG = ImageFolder(
    format="JPEG",
    endings=(".jpg", ".jpeg"),
    classes=_CIFAR10_CLASSES,
    train=5_000,
    test=1_000,
    side=32,
)


def _cifar10_folders(root: Path) -> tuple[Path, ...]:
    # The root itself only if a class of CIFAR-10 is where it belongs: a root may hold any other `train`.
    try:
        here = (root / "train" / _CIFAR10_CLASSES[0]).is_dir()
    except PermissionError:
        here = False
    return (*_in_root("cifar10", "cifar-10", "CIFAR10")(root), *([root] if here else []))


_CIFAR10 = Dataset(
    name="cifar10",
    title="CIFAR-10",
    size="50,000 + 10,000 colour images of 32 x 32 in ten classes, 186 MB",
    licence="none stated by its publisher; cite Krizhevsky 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    places=(
        Place(
            "torchvision layout",
            _in_root(
                "cifar-10-batches-py",
                *(f"{name}/cifar-10-batches-py" for name in ("cifar10", "cifar-10", "CIFAR10")),
            ),
            _CIFAR10_BATCHES,
        ),
        Place("image folder (PNG)", _cifar10_folders, _CIFAR10_PNG),
        Place("image folder (JPEG copy: lossy)", _cifar10_folders, _CIFAR10_JPEG),
    ),
    sources=(
        Source(
            "torchvision's download",
            "170 MB",
            partial(torchvision_download, "CIFAR10", "cifar-10-batches-py"),
        ),
    ),
)

# The checksum is that of scikit-learn 1.9. As they come, not shuffled: no generator decides what is tested.
_DIGITS = Dataset(
    name="digits",
    title="Digits",
    size="1,437 + 360 grey images of 8 x 8 in ten classes",
    licence="Ethem Alpaydin, Cevat Kaynak 1998 (UCI), shipped with scikit-learn (BSD 3-Clause)",
    homepage="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
    places=(
        Place(
            "scikit-learn's load_digits",
            package_folder,
            Digits(
                train=1_437,
                sha256="0ad994755ee5bbf58e3481a6499875f950c12b2d143d13be69a6120677996da6",
            ),
        ),
    ),
    sources=(),
    package="scikit-learn, which `pip install 'flatter-lib[book]'` installs",
)
