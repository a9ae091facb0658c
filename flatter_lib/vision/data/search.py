"""Image data: what there is, where a copy of it lies, fetching one on request, and loading it, checked.

A copy is looked for in the data root and then where a system's packages put it; only an intact one is ever used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from flatter_lib.vision.data.datasets import Dataset, Place, Source, catalogue
from flatter_lib.vision.data.fetch import FetchError
from flatter_lib.vision.data.layouts import Arrays, DataError, Layout


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Attributes:
        train_images: uint8, one image a row; Fashion-MNIST: (60000, 28, 28), 0 is black.
        train_labels: int64 class indices, (60000,).
        test_images: uint8, as the training images; Fashion-MNIST: (10000, 28, 28).
        test_labels: int64 class indices, (10000,).
        name: the data set's name in the catalogue.
        source: which copy was used, in words and without a path; belongs in the record of every run.
    """

    train_images: NDArray[np.uint8] = field(repr=False)
    train_labels: NDArray[np.int64] = field(repr=False)
    test_images: NDArray[np.uint8] = field(repr=False)
    test_labels: NDArray[np.int64] = field(repr=False)
    name: str
    source: str


@dataclass(frozen=True)
class Location:
    """A copy on this machine.

    Attributes:
        dataset: the data set's name.
        label: what the copy is called in records, without a path.
        folder: where it is.
        passed_over: one line for each damaged copy that would have come first.
    """

    dataset: str
    label: str
    folder: Path
    passed_over: tuple[str, ...] = ()


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder for data: the argument, else ``FLATTER_DATA``, else ``flatter`` among the user's own data.

    The last is ``$XDG_DATA_HOME/flatter`` or ``~/.local/share/flatter``. The folder need not exist.

    Examples:
        >>> data_root("scratch").name
        'scratch'
    """
    given = os.fspath(root) if root is not None else os.environ.get("FLATTER_DATA")
    if given:
        return Path(given).expanduser().absolute()
    # The XDG specification: a relative path counts as unset.
    share = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (share if share.is_absolute() else Path.home() / ".local" / "share") / "flatter"


def find(name: str | Dataset, root: str | os.PathLike[str] | None = None) -> tuple[Location, ...]:
    """Every copy on this machine, whole or in part, in the order in which they are tried; nothing is checked yet.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.

    Raises:
        DataError: if there is no data set of that name.
    """
    dataset = _dataset(name)
    return tuple(
        Location(dataset.name, place.label, folder)
        for place, folder in _candidates(dataset, data_root(root))
    )


def status(name: str | Dataset, root: str | os.PathLike[str] | None = None) -> Location | DataError:
    """The copy that `load` would use, or what is wrong and what to do; reads and checks it whole (half a second).

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.

    Raises:
        DataError: if there is no data set of that name.
    """
    dataset = _dataset(name)
    try:
        return _intact(dataset, data_root(root))[0]
    except DataError as error:
        return error


def load(
    name: str | Dataset = "fashion-mnist", root: str | os.PathLike[str] | None = None
) -> Images:
    """The data set, from the first intact copy on this machine; nothing is fetched.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.

    Raises:
        DataError: if there is no data set of that name, or no intact copy of it; the message says what to get.

    Examples:
        >>> images = load("fashion-mnist")
        >>> images.train_images.shape, images.train_images.dtype, images.test_labels[:5]
        ((60000, 28, 28), dtype('uint8'), array([9, 2, 1, 1, 6]))
    """
    dataset = _dataset(name)
    location, arrays = _intact(dataset, data_root(root))
    return Images(
        arrays.train_images,
        arrays.train_labels.astype(np.int64),
        arrays.test_images,
        arrays.test_labels.astype(np.int64),
        name=dataset.name,
        source=location.label,
    )


def get(
    name: str | Dataset,
    root: str | os.PathLike[str] | None = None,
    report: Callable[[str], None] = print,
) -> Location:
    """Make sure that an intact copy is on this machine: nothing to do where there is one, else fetch it.

    The ways to fetch are tried in turn, each announced with its size. A fetched copy is checked before any of it is
    moved into the data root; whatever happens, no file is there in part.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.
        report: is handed one line at a time.

    Returns:
        The copy that `load` will use.

    Raises:
        DataError: if there is no data set of that name, no way of fetching it worked, or the data root cannot be
            written.
    """
    dataset = _dataset(name)
    found = _first_intact(dataset, data_root(root))
    if isinstance(found, tuple):
        return found[0]
    for fault in found:
        report(f"{dataset.title}: {fault}")
    place = dataset.places[0]
    home = place.folders(data_root(root))[0]
    _make_writable(dataset, home)
    failures = []
    for source in dataset.sources:
        report(f"{dataset.title}: fetching {source.size} from {source.label} into {home}")
        try:
            _fetch(source, place.layout, home)
        except FetchError as error:
            failures.append(f"{source.label}: {error}")
            report(f"{dataset.title}: not from {failures[-1]}")
            continue
        except OSError as error:
            raise _unwritable(dataset, home, error) from error
        return _intact(dataset, data_root(root))[0]
    raise DataError(
        f"{dataset.title} could not be fetched ({'; '.join(failures) or 'no way to fetch it is known'}): "
        f"get its files from {dataset.homepage} and put them into {home}"
    )


def _fetch(source: Source, layout: Layout, home: Path) -> None:
    with ExitStack() as stack:
        try:
            # A download may wait in the system's temporary folder: only what is checked goes to the data root.
            folder = TemporaryDirectory(prefix="flatter-", ignore_cleanup_errors=True)
            fetched = source.fetch(Path(stack.enter_context(folder)))
        except OSError as error:
            raise FetchError(f"it cannot be kept while it arrives: {error.strerror}") from error
        try:
            layout.install(fetched, home)
        except DataError as error:
            raise FetchError(f"what came is not the data set: {error}") from error


def _make_writable(dataset: Dataset, home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        TemporaryDirectory(dir=home).cleanup()
    except OSError as error:
        raise _unwritable(dataset, home, error) from error


def _unwritable(dataset: Dataset, home: Path, error: OSError) -> DataError:
    return DataError(
        f"{dataset.title} cannot be written to {home}: {error.strerror}; make room there, or set FLATTER_DATA to "
        f"another folder"
    )


def _dataset(name: str | Dataset) -> Dataset:
    if isinstance(name, Dataset):
        return name
    for dataset in catalogue():
        if dataset.name == name:
            return dataset
    raise DataError(f"no data set {name!r}; there is {', '.join(d.name for d in catalogue())}")


def _candidates(dataset: Dataset, root: Path) -> Iterator[tuple[Place, Path]]:
    return (
        (place, folder)
        for place in dataset.places
        for folder in place.folders(root)
        if place.layout.present(folder)
    )


def _first_intact(dataset: Dataset, root: Path) -> tuple[Location, Arrays] | list[str]:
    """The first intact copy, or what is wrong with each that is there."""
    faults: list[str] = []
    for place, folder in _candidates(dataset, root):
        try:
            arrays = place.layout.read(folder)
        except DataError as error:
            faults.append(str(error))
            continue
        return Location(dataset.name, place.label, folder, tuple(faults)), arrays
    return faults


def _intact(dataset: Dataset, root: Path) -> tuple[Location, Arrays]:
    found = _first_intact(dataset, root)
    if isinstance(found, tuple):
        return found
    missing = f"missing: it is neither in the data root {root} nor among the system's packages"
    fault = f"damaged: {'; '.join(found)}" if found else missing
    cures = [f"set FLATTER_DATA to a folder with its files from {dataset.homepage}"]
    if dataset.sources:
        sources = " or ".join(source.label for source in dataset.sources)
        cures.insert(0, f"run `flatter data get {dataset.name}`, which fetches it from {sources}")
    raise DataError(f"{dataset.title} is {fault}; {', or '.join(cures)}")
