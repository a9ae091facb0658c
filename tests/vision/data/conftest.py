"""A data set of a few bytes that looks like MNIST, and what is said if a copy is not intact."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.vision.data import DataError, Dataset, Place, Source, load, status
from flatter_lib.vision.data.layouts import Arrays, Files, Layout, idx

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def encode(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


class Tiny:
    """Fifteen images in four IDX files."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.arrays = Arrays(
            rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
            rng.integers(0, 10, 6, dtype=np.uint8),
            rng.integers(0, 256, (9, 4, 4), dtype=np.uint8),
            rng.integers(0, 10, 9, dtype=np.uint8),
        )
        self.contents = dict(zip(NAMES, map(encode, self.arrays), strict=True))
        digests = {name: hashlib.sha256(c).hexdigest() for name, c in self.contents.items()}
        self.files = Files(digests, lambda contents: Arrays(*map(idx, contents.values())))

    def write(self, folder: Path, *, compressed: bool = False, **changed: bytes | None) -> Path:
        """A copy in a folder; ``train_images=...`` puts other bytes into that file, None leaves it out."""
        folder.mkdir(parents=True, exist_ok=True)
        contents = dict(zip(Arrays._fields, self.contents.values(), strict=True)) | changed
        for name, content in zip(NAMES, contents.values(), strict=True):
            if content is not None:
                path = folder / (f"{name}.gz" if compressed else name)
                path.write_bytes(gzip.compress(content) if compressed else content)
        return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """A data set that may lie in several places in the same layout."""

    def made(layout: Layout, places: dict[str, str], *sources: Source) -> Dataset:
        return Dataset(
            name="tiny",
            title="Tiny",
            size="few images",
            licence="none",
            homepage="https://example.org/tiny",
            places=tuple(Place(label, folder, layout) for label, folder in places.items()),
            sources=sources,
        )

    return made


@pytest.fixture
def fault(root: Path, dataset: Callable[..., Dataset]) -> Callable[[Layout], str]:
    """What is wrong with a copy in the data root: the same one line from `status` and from `load`, with the cures."""

    def said(layout: Layout) -> str:
        asked = dataset(layout, {"a copy": ""}, Source("nowhere", "0 MB", lambda into: into))
        error = status(asked, root)
        assert isinstance(error, DataError)
        with pytest.raises(DataError) as raised:
            load(asked, root)
        assert str(raised.value) == str(error)
        assert "\n" not in str(error)
        for cure in ("flatter data get tiny", "FLATTER_DATA", asked.homepage):
            assert cure in str(error)
        return str(error)

    return said
