"""Where copies of a data set lie: in the data root, or where packages put them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flatter_lib.vision.data import cache
from flatter_lib.vision.data.datasets import Dataset, Place
from flatter_lib.vision.data.known import catalogue
from flatter_lib.vision.data.layouts import Arrays, DataError, Slow, Watch


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
    dataset = named(name)
    return tuple(
        Location(dataset.name, place.label, folder)
        for place, folder in _candidates(dataset, data_root(root))
    )


def available(name: str | Dataset, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether `load` will find a copy, going by names, numbers and sizes: no file is read.

    For a chapter that shows more where more data are; a copy that is altered inside is only noticed by `load`.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.

    Raises:
        DataError: if there is no data set of that name.
    """
    for place, folder in _candidates(named(name), data_root(root)):
        try:
            if place.layout.complete(folder):
                return True
        except OSError:
            continue
    return False


def named(name: str | Dataset) -> Dataset:
    """A data set from the catalogue by its name; one that is given as such is handed back.

    Raises:
        DataError: if there is none of that name.
    """
    if isinstance(name, Dataset):
        return name
    for dataset in catalogue():
        if dataset.name == name:
            return dataset
    raise DataError(f"no data set {name!r}; there is {', '.join(d.name for d in catalogue())}")


def intact(dataset: Dataset, root: Path, watch: Watch | None = None) -> tuple[Location, Arrays]:
    """The first intact copy.

    Raises:
        DataError: if there is none; the message says what is wrong with each that is there, and what to do.
    """
    found = first_intact(dataset, root, watch)
    if isinstance(found, tuple):
        return found
    if found:
        fault = f"damaged: {'; '.join(found)}"
    elif dataset.package:
        fault = "missing: the package that brings it is not installed"
    else:
        fault = f"missing: it is neither in the data root {root} nor among the system's packages"
    raise DataError(f"{dataset.title} is {fault}; {_cure(dataset)}")


def first_intact(
    dataset: Dataset, root: Path, watch: Watch | None = None
) -> tuple[Location, Arrays] | list[str]:
    """The first intact copy, or what is wrong with each that is there."""
    faults: list[str] = []
    kept = root / "cache" / f"{dataset.name}.npz"
    for place, folder in _candidates(dataset, root):
        layout = place.layout
        try:
            arrays = (
                cache.read(layout, folder, kept, watch)
                if isinstance(layout, Slow)
                else layout.read(folder)
            )
        except DataError as error:
            faults.append(str(error))
            continue
        return Location(dataset.name, place.label, folder, tuple(faults)), arrays
    return faults


def _candidates(dataset: Dataset, root: Path) -> Iterator[tuple[Place, Path]]:
    return (
        (place, folder)
        for place in dataset.places
        for folder in place.folders(root)
        if place.layout.present(folder)
    )


def _cure(dataset: Dataset) -> str:
    if dataset.package:
        return f"install {dataset.package}"
    by_hand = f"set FLATTER_DATA to a folder with its files from {dataset.homepage}"
    if not dataset.sources:
        return by_hand
    sources = " or ".join(source.label for source in dataset.sources)
    return f"run `flatter data get {dataset.name}`, which fetches it from {sources}, or {by_hand}"
