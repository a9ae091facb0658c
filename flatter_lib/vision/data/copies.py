"""The copies of a data set on this machine: finding, loading and getting one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from flatter_lib import files
from flatter_lib.files import data_root as data_root
from flatter_lib.vision.data.images import Images
from flatter_lib.vision.data.known import Dataset, Source, catalogue
from flatter_lib.vision.data.layouts import Arrays, DataError, Files


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


def load(
    name: str | Dataset = "fashion-mnist", root: str | os.PathLike[str] | None = None
) -> Images:
    """The data set, from the first intact copy on this machine; nothing is fetched.

    Half a second for MNIST and its relatives, about ten seconds for the image files of CIFAR-10.

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
    dataset, root = _named(name), data_root(root)
    found = _search(dataset, root)
    if isinstance(found, list):
        raise _not_here(dataset, root, found)
    location, arrays = found
    return Images(
        arrays.train_images,
        arrays.train_labels.astype(np.int64),
        arrays.test_images,
        arrays.test_labels.astype(np.int64),
        name=dataset.name,
        source=location.label,
    )


def status(name: str | Dataset, root: str | os.PathLike[str] | None = None) -> Location | DataError:
    """The copy that `load` would use, or what is wrong and what to do; reads and checks it whole.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.

    Raises:
        DataError: if there is no data set of that name.
    """
    dataset, root = _named(name), data_root(root)
    found = _search(dataset, root)
    return _not_here(dataset, root, found) if isinstance(found, list) else found[0]


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
    dataset, root = _named(name), data_root(root)
    found = _search(dataset, root)
    if isinstance(found, tuple):
        return found[0]
    if not dataset.sources:
        raise _not_here(dataset, root, found)
    for fault in found:
        report(f"{dataset.title}: {fault}")
    place = dataset.places[0]
    home = root / place.folder
    assert isinstance(place.layout, Files), f"{dataset.name}: only files can be fetched"
    failures = []
    try:
        files.probe(home / "files")  # whether it can be written is said before anything is fetched
        for source in dataset.sources:
            report(f"{dataset.title}: fetching {source.size} from {source.label} into {home}")
            try:
                contents = _fetched(source, place.layout)
            except DataError as error:
                failures.append(f"{source.label}: {error}")
                report(f"{dataset.title}: not from {failures[-1]}")
                continue
            for file, content in contents.items():
                files.replace(home / file, content)
            return Location(dataset.name, place.label, home)
    except OSError as error:
        raise DataError(
            f"{dataset.title} cannot be written to {home}: {error.strerror}; make room there, or set FLATTER_DATA to "
            f"another folder"
        ) from error
    raise DataError(
        f"{dataset.title} could not be fetched ({'; '.join(failures)}): "
        f"get its files from {dataset.homepage} and put them into {home}"
    )


def _fetched(source: Source, layout: Files) -> dict[str, bytes]:
    """What a source gives, checked."""
    try:
        # A download may wait in the system's temporary folder: only what is checked goes to the data root.
        with TemporaryDirectory(prefix="flatter-", ignore_cleanup_errors=True) as folder:
            fetched = source.fetch(Path(folder))
            try:
                contents = layout.contents(fetched)
            except DataError as error:
                raise DataError(f"what came is not the data set: {error}") from None
    except OSError as error:
        raise DataError(f"it cannot be kept while it arrives: {error.strerror}") from error
    if not contents:
        raise DataError("what came is not the data set: none of its files")
    return contents


def _named(name: str | Dataset) -> Dataset:
    """A data set from the catalogue by its name; one that is given as such is handed back."""
    if isinstance(name, Dataset):
        return name
    for dataset in catalogue():
        if dataset.name == name:
            return dataset
    raise DataError(f"no data set {name!r}; there is {', '.join(d.name for d in catalogue())}")


def _search(dataset: Dataset, root: Path) -> tuple[Location, Arrays] | list[str]:
    """The first intact copy, or what is wrong with each that is there."""
    faults: list[str] = []
    for place in dataset.places:
        folder = root / place.folder
        try:
            arrays = place.layout.read(folder)
        except DataError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{error.filename or folder} cannot be read: {error.strerror}")
        else:
            if arrays is not None:
                return Location(dataset.name, place.label, folder, tuple(faults)), arrays
    return faults


def _not_here(dataset: Dataset, root: Path, faults: list[str]) -> DataError:
    """What is wrong with each copy that is there, and what to do."""
    if dataset.package:
        missing = "the package that brings it is not installed"
        cure = f"install {dataset.package}"
    else:
        missing = f"it is neither in the data root {root} nor among the system's packages"
        home = root / dataset.places[0].folder
        cure = f"put its files from {dataset.homepage} into {home}, or set FLATTER_DATA to another data root"
    if dataset.sources:
        sources = " or ".join(source.label for source in dataset.sources)
        cure = f"run `flatter data get {dataset.name}`, which fetches it from {sources}, or {cure}"
    fault = f"damaged: {'; '.join(faults)}" if faults else f"missing: {missing}"
    return DataError(f"{dataset.title} is {fault}; {cure}")
