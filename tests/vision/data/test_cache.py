"""Decoded arrays that are kept: used while they belong to the images, made anew when they do not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.vision.data import cache, load
from flatter_lib.vision.data.datasets import Dataset
from flatter_lib.vision.data.layouts import Arrays, DataError, Layout, Watch


class Counting:
    """A layout whose arrays are made from one file, and that counts how often it decodes."""

    def __init__(self) -> None:
        self.decoded = 0

    def present(self, folder: Path) -> bool:
        return folder.exists()

    def complete(self, folder: Path) -> bool:
        return folder.exists()

    def signature(self, folder: Path) -> str:
        stat = (folder / "file").stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def read(self, folder: Path, watch: Watch | None = None) -> Arrays:
        self.decoded += 1
        if watch is not None:
            watch(1, 1)
        content = (folder / "file").read_bytes()
        if content == b"damaged":
            raise DataError("it is damaged")
        images = np.frombuffer(content, np.uint8).reshape(-1, 1, 1)
        return Arrays(images, images[:, 0, 0] % 10, images[:1], images[:1, 0, 0] % 10)


@pytest.fixture
def layout() -> Counting:
    return Counting()


@pytest.fixture
def tiny(layout: Counting, lying: Callable[[Layout, str], Dataset], root: Path) -> Dataset:
    write(root, b"abcdef")
    return lying(layout, "tiny")


def write(root: Path, content: bytes) -> None:
    (root / "tiny").mkdir(parents=True, exist_ok=True)
    (root / "tiny" / "file").write_bytes(content)


def kept(root: Path) -> Path:
    return root / "cache" / "tiny.npz"


def pixels(dataset: Dataset, root: Path) -> bytes:
    return load(dataset, root).train_images.tobytes()


def test_it_is_decoded_once(tiny: Dataset, root: Path, layout: Counting) -> None:
    first, again = load(tiny, root), load(tiny, root)
    assert layout.decoded == 1
    for name in Arrays._fields:
        one, other = getattr(first, name), getattr(again, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert again.train_images.flags.writeable
    assert first.digest == again.digest
    assert [path.name for path in kept(root).parent.iterdir()] == [kept(root).name]


def test_only_decoding_is_watched(tiny: Dataset, root: Path) -> None:
    heard: list[tuple[int, int]] = []
    for _ in range(2):
        load(tiny, root, watch=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 1)]


def test_images_that_changed_are_decoded_anew(tiny: Dataset, root: Path, layout: Counting) -> None:
    load(tiny, root)
    write(root, b"ghijklm")
    assert pixels(tiny, root) == b"ghijklm"
    stat = (root / "tiny" / "file").stat()
    write(root, b"GHIJKLM")  # as long as before
    os.utime(root / "tiny" / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert pixels(tiny, root) == b"GHIJKLM"
    assert layout.decoded == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"rubbish",
        lambda content: content.replace(b"abcdef", b"abcdeF"),
        lambda content: b"\x93NUMPY" + content,
    ],
    ids=["truncated", "empty", "rubbish", "altered", "another format"],
)
def test_a_damaged_file_is_made_anew(
    tiny: Dataset, root: Path, layout: Counting, change: Callable[[bytes], bytes]
) -> None:
    load(tiny, root)
    before = kept(root).read_bytes()
    kept(root).write_bytes(change(before))
    assert kept(root).read_bytes() != before
    assert pixels(tiny, root) == b"abcdef"
    assert layout.decoded == 2
    assert pixels(tiny, root) == b"abcdef"
    assert layout.decoded == 2


@pytest.mark.parametrize("name", Arrays._fields)
def test_a_whole_file_of_other_values_is_made_anew(
    tiny: Dataset, root: Path, layout: Counting, name: str
) -> None:
    load(tiny, root)
    with np.load(kept(root)) as stored:
        content = dict(stored)
    content[name] = content[name] ^ 1
    np.savez(kept(root), **content)
    assert pixels(tiny, root) == b"abcdef"
    assert layout.decoded == 2


def test_a_pickle_in_its_place_is_not_loaded(tiny: Dataset, root: Path, layout: Counting) -> None:
    load(tiny, root)
    with np.load(kept(root)) as stored:
        content = dict(stored)
    content["signature"] = np.array([content["signature"].item()], dtype=object)
    np.savez(kept(root), **content)
    assert pixels(tiny, root) == b"abcdef"
    assert layout.decoded == 2


def test_what_is_damaged_is_not_kept(tiny: Dataset, root: Path) -> None:
    write(root, b"damaged")
    with pytest.raises(DataError, match="it is damaged"):
        load(tiny, root)
    assert not kept(root).exists()


def test_where_nothing_can_be_written_nothing_is_kept(
    tiny: Dataset, root: Path, layout: Counting
) -> None:
    (root / "cache").touch()
    assert pixels(tiny, root) == pixels(tiny, root) == b"abcdef"
    assert layout.decoded == 2
    assert (root / "cache").read_bytes() == b""


def test_what_breaks_off_leaves_nothing(
    tiny: Dataset, root: Path, layout: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def savez(file: object, **arrays: object) -> None:
        raise OSError("No space left on device")

    load(tiny, root)
    before = kept(root).read_bytes()
    write(root, b"xyz")
    monkeypatch.setattr(cache.np, "savez", savez)
    assert pixels(tiny, root) == b"xyz"
    assert [path.name for path in kept(root).parent.iterdir()] == [kept(root).name]
    assert kept(root).read_bytes() == before
    assert pixels(tiny, root) == b"xyz"
