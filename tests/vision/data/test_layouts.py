"""Files known by their checksums, those of MNIST as the example."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from flatter_lib.vision.data.layouts import Arrays, idx

FIRST = "train-images-idx3-ubyte"


def written(array: np.ndarray) -> bytes:
    """Value by value from the format's description, as a second implementation."""
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return content + b"".join(struct.pack("B", array[index]) for index in np.ndindex(*array.shape))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_what_the_format_prescribes_is_read_back(array: np.ndarray) -> None:
    decoded = idx(written(array))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable  # torch.from_numpy warns otherwise
    np.testing.assert_array_equal(decoded, array)
    with pytest.raises(ValueError, match="no IDX file of unsigned bytes starts with 00 00 0d"):
        idx(b"\0\0\x0d" + written(array)[3:])


def test_plain_and_compressed_files_mix(tiny, root: Path) -> None:
    tiny.write(root, train_images=None)
    (root / f"{FIRST}.gz").write_bytes(gzip.compress(tiny.contents[FIRST]))
    for array, expected in zip(tiny.files.read(root), tiny.arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_nothing_there(tiny, root: Path, fault) -> None:
    assert tiny.files.read(root) is None
    root.mkdir()
    (root / "file").touch()
    assert tiny.files.read(root / "file") is None
    assert f"Tiny is missing: it is neither in the data root {root} nor" in fault(tiny.files)


@pytest.mark.parametrize("name", Arrays._fields)
def test_one_of_four_is_missing(tiny, root: Path, name: str, fault) -> None:
    tiny.write(root, compressed=True, **{name: None})
    file = [*tiny.contents][Arrays._fields.index(name)]
    assert f"Tiny is damaged: {root} lacks {file}; unpack it anew" in fault(tiny.files)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["truncated", "too long", "altered"],
)
def test_a_damaged_file(
    tiny, root: Path, change: Callable[[bytes], bytes], compressed: bool, fault
) -> None:
    content = change(tiny.contents[FIRST])
    tiny.write(root, compressed=compressed, train_images=content)
    path = root / (f"{FIRST}.gz" if compressed else FIRST)
    says = f"Tiny is damaged: {path} is truncated or altered ({len(content)} bytes): its SHA-256 is"
    assert says in fault(tiny.files)


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: archive[:40],
        lambda archive: archive[:-8] + bytes(8),
        lambda archive: archive[:12] + b"\xff" * 20 + archive[32:],
        lambda archive: b"no archive",
    ],
    ids=["truncated", "checksum", "stream", "magic"],
)
def test_a_damaged_archive(tiny, root: Path, change: Callable[[bytes], bytes], fault) -> None:
    path = tiny.write(root, compressed=True) / f"{FIRST}.gz"
    path.write_bytes(change(path.read_bytes()))
    assert f"{path} is truncated or altered: it does not decompress" in fault(tiny.files)


def test_a_file_that_cannot_be_read(tiny, root: Path, fault) -> None:
    (tiny.write(root, train_images=None) / FIRST).mkdir()
    assert f"{root / FIRST} cannot be read: Is a directory" in fault(tiny.files)


def test_checksums_that_fit_files_that_do_not_decode(tiny, root: Path, fault) -> None:
    def decode(contents: dict[str, bytes]) -> Arrays:
        raise ValueError("three images, no label")

    tiny.write(root)
    other = replace(tiny.files, decode=decode)
    assert f"{root} holds another data set: three images, no label" in fault(other)
