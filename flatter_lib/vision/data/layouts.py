"""What a data set's files look like in a folder: what every layout can say of a copy there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: Is told, now and then, how many images of how many are decoded.
Watch = Callable[[int, int], None]


class DataError(Exception):
    """Data that are missing, damaged or out of reach: one line that says what is wrong and what to do."""


class Arrays(NamedTuple):
    """The decoded content of one copy, as stored: uint8."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


class Layout(Protocol):
    """One way in which a data set lies in a folder."""

    def present(self, folder: Path) -> bool:
        """Whether any part of a copy is there; no file is read."""

    def complete(self, folder: Path) -> bool:
        """Whether, by names, numbers and sizes, all of a copy is there; no file is read.

        Raises:
            OSError: if the folder cannot be looked into.
        """

    def read(self, folder: Path) -> Arrays:
        """The whole copy, checked.

        Raises:
            DataError: if a part is missing, unreadable, truncated or altered; the message names the file.
        """


@runtime_checkable
class Installable(Layout, Protocol):
    """A layout in which a fetched copy can be put in place."""

    def install(self, folder: Path, target: Path) -> None:
        """Put the checked copy in ``folder`` into ``target``; each file appears there whole or not at all.

        Raises:
            DataError: if the copy is not intact; ``target`` is then as it was.
            OSError: if ``target`` cannot be written.
        """


@runtime_checkable
class Slow(Layout, Protocol):
    """A layout that takes so long to decode that the decoded arrays are worth keeping."""

    def signature(self, folder: Path) -> str:
        """Changes when the copy may decode to something else; cheap.

        Raises:
            DataError: if the folder cannot be looked into.
        """

    def read(self, folder: Path, watch: Watch | None = None) -> Arrays:
        """The whole copy, checked; see `Layout.read`.

        Args:
            folder: where it lies.
            watch: see `Watch`.
        """


def put(contents: Mapping[str, bytes], target: Path) -> None:
    """Write files into a folder; each appears there whole or not at all.

    Args:
        contents: file name -> content.
        target: the folder; made if it is not there.

    Raises:
        OSError: if it cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    # Inside the target, so that the move stays on one file system and is atomic.
    with TemporaryDirectory(dir=target, prefix=".new-") as name:
        fresh = Path(name)
        for file, content in contents.items():
            (fresh / file).write_bytes(content)
        for file in contents:
            (fresh / file).replace(target / file)
