"""What is known of a data set: what it is, under which licence, where a copy may lie, how to fetch one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flatter_lib.vision.data.layouts import Layout


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
