"""What tests of several layouts share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flatter_lib.vision.data import DataError, load, status
from flatter_lib.vision.data.datasets import Dataset, Place, Source
from flatter_lib.vision.data.layouts import Layout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def lying() -> Callable[[Layout, str], Dataset]:
    """A data set of one place: a layout in that folder of the data root."""

    def dataset(layout: Layout, folder: str) -> Dataset:
        return Dataset(
            name="tiny",
            title="Tiny",
            size="few images",
            licence="none",
            homepage="https://example.org/tiny",
            places=(Place("a copy", lambda root: (root / folder,), layout),),
            sources=(Source("nowhere", "0 MB", lambda into: into),),
        )

    return dataset


@pytest.fixture
def fault() -> Callable[[Dataset, Path], str]:
    """What is wrong: the same one line from `status` and from `load`, with the cures."""

    def said(dataset: Dataset, root: Path) -> str:
        error = status(dataset, root)
        assert isinstance(error, DataError)
        with pytest.raises(DataError) as raised:
            load(dataset, root)
        assert str(raised.value) == str(error)
        assert "\n" not in str(error)
        assert f"flatter data get {dataset.name}" in str(error) or not dataset.sources
        assert "FLATTER_DATA" in str(error)
        assert dataset.homepage in str(error)
        return str(error)

    return said
