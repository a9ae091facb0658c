"""Files known by their checksums, those of MNIST as the example; writing files whole or not at all."""

from __future__ import annotations

import errno
import gzip
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from flatter_lib.vision.data import idx
from flatter_lib.vision.data.layouts import Arrays, put

FIRST = "train-images-idx3-ubyte"


# --- the IDX format ---------------------------------------------------------------------------------------------------


def written(array: np.ndarray) -> bytes:
    """Value by value from the format's description, as a second implementation."""
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return content + b"".join(struct.pack("B", array[index]) for index in np.ndindex(*array.shape))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_what_the_format_prescribes_is_read_back(array: np.ndarray) -> None:
    decoded = idx.array(written(array))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable  # torch.from_numpy warns otherwise
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("kind", [0x09, 0x0B, 0x0C, 0x0D, 0x0E])
def test_other_types_of_value_are_refused(kind: int) -> None:
    with pytest.raises(ValueError, match="no IDX file of unsigned bytes"):
        idx.array(bytes([0, 0, kind, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))


# --- reading files ----------------------------------------------------------------------------------------------------


def test_plain_and_compressed_files_mix(tiny, root: Path) -> None:
    tiny.write(root, train_images=None)
    (root / f"{FIRST}.gz").write_bytes(gzip.compress(tiny.contents[FIRST]))
    for array, expected in zip(tiny.files.read(root), tiny.arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_nothing_there(tiny, root: Path, fault) -> None:
    assert tiny.files.read(root) is None
    root.mkdir()
    assert tiny.files.read(root) is None
    (root / "file").touch()
    assert tiny.files.read(root / "file") is None
    assert f"Tiny is missing: it is neither in the data root {root} nor" in fault(tiny.files)


@pytest.mark.parametrize("name", Arrays._fields)
@pytest.mark.parametrize("compressed", [False, True])
def test_one_of_four_is_missing(tiny, root: Path, name: str, compressed: bool, fault) -> None:
    tiny.write(root, compressed=compressed, **{name: None})
    file = [*tiny.contents][Arrays._fields.index(name)]
    assert f"Tiny is damaged: {root} lacks {file}; unpack it anew" in fault(tiny.files)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content + b"\0",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        gzip.compress,
    ],
    ids=["truncated", "empty", "too long", "altered", "compressed"],
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


# --- writing files ----------------------------------------------------------------------------------------------------


def test_a_failure_between_two_moves_leaves_whole_files(tiny, root: Path) -> None:
    names = [*tiny.contents]
    (root / names[2]).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        put(tiny.contents, root)
    assert sorted(path.name for path in root.iterdir()) == sorted(names[:3])
    assert all((root / name).read_bytes() == tiny.contents[name] for name in names[:2])
    shutil.rmtree(root / names[2])
    put(tiny.contents, root)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == tiny.contents


def test_a_full_disk_leaves_what_was_there(
    tiny, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write(root, test_images=b"mine")
    before = {path: path.read_bytes() for path in root.iterdir()}
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        written = write(path, content[:20])
        raise OSError(errno.ENOSPC, f"No space left after {written} bytes")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left after 20"):
        put(tiny.contents, root)
    assert {path: path.read_bytes() for path in root.iterdir()} == before
