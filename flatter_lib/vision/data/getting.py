"""Getting a data set: nothing to do where there is an intact copy, else fetching one into the data root."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from flatter_lib.vision.data.datasets import Dataset, Source
from flatter_lib.vision.data.fetch import FetchError
from flatter_lib.vision.data.layouts import DataError, Installable, Watch
from flatter_lib.vision.data.search import Location, data_root, first_intact, intact, named


def get(
    name: str | Dataset,
    root: str | os.PathLike[str] | None = None,
    report: Callable[[str], None] = print,
    watch: Watch | None = None,
) -> Location:
    """Make sure that an intact copy is on this machine: nothing to do where there is one, else fetch it.

    The ways to fetch are tried in turn, each announced with its size. A fetched copy is checked before any of it is
    moved into the data root; whatever happens, no file is there in part.

    Args:
        name: a name from the catalogue, or a data set of your own.
        root: the data root, see `data_root`.
        report: is handed one line at a time.
        watch: is told how many images of how many are decoded, while an image folder is.

    Returns:
        The copy that `load` will use.

    Raises:
        DataError: if there is no data set of that name, no way of fetching it worked, or the data root cannot be
            written.
    """
    dataset = named(name)
    if not dataset.sources:
        return intact(dataset, data_root(root), watch)[0]
    found = first_intact(dataset, data_root(root), watch)
    if isinstance(found, tuple):
        return found[0]
    for fault in found:
        report(f"{dataset.title}: {fault}")
    place = dataset.places[0]
    if not isinstance(place.layout, Installable):
        raise TypeError(f"{dataset.name}: what is fetched cannot be put into its first place")
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
        return intact(dataset, data_root(root))[0]
    raise DataError(
        f"{dataset.title} could not be fetched ({'; '.join(failures)}): "
        f"get its files from {dataset.homepage} and put them into {home}"
    )


def _fetch(source: Source, layout: Installable, home: Path) -> None:
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
