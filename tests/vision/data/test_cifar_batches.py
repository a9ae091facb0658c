"""CIFAR's batches, on files of a few images written as Python 2 wrote the published ones."""

from __future__ import annotations

import errno
import hashlib
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest

from flatter_lib.vision.data import DataError, Location, available, get, load, status
from flatter_lib.vision.data.cifar_batches import Batch, CifarBatches
from flatter_lib.vision.data.datasets import Dataset, Source
from flatter_lib.vision.data.known import _CIFAR10_BATCHES
from flatter_lib.vision.data.layouts import Layout

BASE = "cifar-10-batches-py"
CLASSES = ("apple", "bear", "chair")
N, SIDE = 4, 32  # torchvision knows no other side

Fault = Callable[[Dataset, Path], str]


def python2(value: Any) -> bytes:
    """A pickle as Python 2 and the NumPy of its day wrote them: protocol 2, text as bytes, truth values as numbers."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(text)) + text  # BINSTRING

    def encode(value: Any) -> bytes:
        match value:
            case str():
                return string(value.encode())
            case int():
                return b"J" + struct.pack("<i", value)  # BININT
            case list():
                return b"](" + b"".join(map(encode, value)) + b"e"
            case dict():
                return b"}(" + b"".join(encode(k) + encode(v) for k, v in value.items()) + b"u"
            case np.ndarray():
                made = (
                    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
                    + string(b"b")
                    + b"tR"
                )
                dtype = (
                    b"cnumpy\ndtype\n("
                    + string(value.dtype.str.lstrip("|").encode())
                    + b"K\x00K\x01tR(K\x03"
                    + string(b"|")
                    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
                )
                shape = b"(" + b"".join(map(encode, value.shape)) + b"t"
                return made + b"(K\x01" + shape + dtype + b"\x89" + string(value.tobytes()) + b"tb"
        raise TypeError(type(value))

    return b"\x80\x02" + encode(value) + b"."


rng = np.random.default_rng(1)
PIXELS = {
    name: rng.integers(0, 256, (N, 3 * SIDE**2), dtype=np.uint8)
    for name in ("data_batch_1", "data_batch_2", "test_batch")
}
LABELS = {name: [int(k) for k in rng.integers(0, len(CLASSES), N)] for name in PIXELS}
META = {"num_cases_per_batch": N, "label_names": list(CLASSES), "num_vis": 3 * SIDE**2}


def entry(name: str, **changed: Any) -> bytes:
    content = {"batch_label": name, "labels": LABELS[name], "data": PIXELS[name], "filenames": []}
    return python2(content | changed)


CONTENTS = {name: entry(name) for name in PIXELS} | {"batches.meta": python2(META)}


def layout(contents: dict[str, bytes]) -> CifarBatches:
    """The layout that knows these files."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    batches = {name: Batch(name, md5[name]) for name in md5}
    return CifarBatches(
        train=(batches["data_batch_1"], batches["data_batch_2"]),
        test=(batches["test_batch"],),
        meta=batches["batches.meta"],
        classes=CLASSES,
        images=N,
        side=SIDE,
        archive="cifar-10-python.tar.gz",
    )


def write(folder: Path, changed: dict[str, bytes] | None = None) -> Path:
    """A copy in a folder, some of its files with other content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (CONTENTS | (changed or {})).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def tiny(lying: Callable[[Layout, str], Dataset]) -> Dataset:
    return lying(layout(CONTENTS), BASE)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_every_pixel_is_where_it_belongs(tiny: Dataset, root: Path) -> None:
    write(root / BASE)
    images = load(tiny, root)
    assert images.train_images.shape == (2 * N, SIDE, SIDE, 3)
    assert images.test_images.shape == (N, SIDE, SIDE, 3)
    row = PIXELS["data_batch_2"][1]
    for y, x, c in [(0, 0, 0), (0, 5, 0), (7, 3, 1), (31, 31, 2)]:
        assert images.train_images[N + 1, y, x, c] == row[c * SIDE**2 + y * SIDE + x]
    assert [*images.train_labels] == LABELS["data_batch_1"] + LABELS["data_batch_2"]
    assert [*images.test_labels] == LABELS["test_batch"]
    assert images.train_images.flags.writeable
    assert images.train_images.flags.c_contiguous


@pytest.mark.filterwarnings("ignore:.*align should be passed")  # torchvision reads the old numbers
def test_torchvision_reads_the_same(
    tiny: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    write(root / BASE)
    known = tiny.places[0].layout
    assert isinstance(known, CifarBatches)
    monkeypatch.setattr(CIFAR10, "train_list", [[b.name, b.md5] for b in known.train])
    monkeypatch.setattr(CIFAR10, "test_list", [[b.name, b.md5] for b in known.test])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": known.meta.md5})
    images = load(tiny, root)
    for train, pixels, labels in (
        (True, images.train_images, images.train_labels),
        (False, images.test_images, images.test_labels),
    ):
        theirs = CIFAR10(root, train=train)
        np.testing.assert_array_equal(theirs.data, pixels)
        np.testing.assert_array_equal(theirs.targets, labels)
        assert tuple(theirs.classes) == known.classes


def test_the_published_files_are_known_by_torchvisions_checksums() -> None:
    from torchvision.datasets import CIFAR10

    def pairs(*batches: Batch) -> list[list[str]]:
        return [[batch.name, batch.md5] for batch in batches]

    known = _CIFAR10_BATCHES
    assert pairs(*known.train) == CIFAR10.train_list
    assert pairs(*known.test) == CIFAR10.test_list
    assert pairs(known.meta) == [[CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
    assert known.archive == CIFAR10.filename
    assert list(known.classes) == sorted(known.classes)


# --- what can be wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENTS)
def test_a_missing_file(tiny: Dataset, root: Path, name: str, fault: Fault) -> None:
    (write(root / BASE) / name).unlink()
    message = fault(tiny, root)
    assert message.startswith(f"Tiny is damaged: {root / BASE} lacks {name}; unpack the archive")
    assert not available(tiny, root)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-3] + b"???"],
    ids=["shorter", "half", "empty", "altered"],
)
def test_a_damaged_file(
    tiny: Dataset, root: Path, name: str, change: Callable[[bytes], bytes], fault: Fault
) -> None:
    path = write(root / BASE, {name: change(CONTENTS[name])}) / name
    message = fault(tiny, root)
    assert message.startswith(f"Tiny is damaged: {path} is truncated or altered (")
    assert "its MD5 is" in message


def test_a_file_that_cannot_be_read(tiny: Dataset, root: Path, fault: Fault) -> None:
    path = write(root / BASE) / "test_batch"
    path.unlink()
    path.mkdir()
    assert f"{path} cannot be read: Is a directory" in fault(tiny, root)


def test_a_folder_that_cannot_be_searched_counts_as_there() -> None:
    class Locked(PosixPath):  # by its class, since for root no folder is locked
        def exists(self) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied")

    assert layout(CONTENTS).present(Locked("/locked"))
    with pytest.raises(DataError, match=r"/locked cannot be read: Permission denied"):
        layout(CONTENTS).read(Locked("/locked"))


def test_one_folder_too_deep(tiny: Dataset, root: Path, fault: Fault) -> None:
    deeper = write(root / BASE / BASE)
    assert f"{deeper} is one folder too deep: move its files up into {root / BASE}" in fault(
        tiny, root
    )
    assert not available(tiny, root)


def test_an_archive_that_is_not_unpacked(tiny: Dataset, root: Path, fault: Fault) -> None:
    root.mkdir()
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    assert f"{archive} is not unpacked: `tar -xzf cifar-10-python.tar.gz`" in fault(tiny, root)
    write(root / BASE)  # beside its content it may stay
    assert status(tiny, root) == Location("tiny", "a copy", root / BASE)


class Runs:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", CONTENTS)
def test_no_code_of_a_pickle_is_run_even_if_its_checksum_fits(
    lying: Callable[[Layout, str], Dataset], root: Path, tmp_path: Path, name: str, fault: Fault
) -> None:
    trace = tmp_path / "trace"
    evil = pickle.dumps({"data": Runs(trace)}, protocol=2)
    pickle.loads(evil)  # noqa: S301 - it would: that is what must not happen below
    assert trace.exists()
    trace.unlink()
    dataset = lying(layout(CONTENTS | {name: evil}), BASE)
    write(root / BASE, {name: evil})
    message = fault(dataset, root)
    assert f"{root / BASE / name} is no batch of CIFAR: it asks for " in message
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rubbish", "is no batch of CIFAR: "),
        (python2([1]), "is no batch of CIFAR: it holds list, not dict"),
        (python2({}), "is another file: it holds () object, not (4, 3072) uint8"),
        (
            entry("test_batch", data=PIXELS["test_batch"][1:]),
            "is another file: it holds (3, 3072) uint8, not (4, 3072) uint8",
        ),
        (
            entry("test_batch", data=PIXELS["test_batch"].astype(np.int32)),
            "is no batch of CIFAR: it holds values of type <i4, not u1",
        ),
        (entry("test_batch", labels=[0, 1, 2]), "is another file: no label 0 to 2 an image"),
        (entry("test_batch", labels=[0, 1, 2, 3]), "is another file: no label 0 to 2 an image"),
        (entry("test_batch", labels=[0, 1, 2, -1]), "is another file: no label 0 to 2 an image"),
        (entry("test_batch", labels=["0"] * 4), "is another file: no label 0 to 2 an image"),
    ],
)
def test_what_fits_its_checksum_and_is_something_else(
    lying: Callable[[Layout, str], Dataset], root: Path, content: bytes, says: str, fault: Fault
) -> None:
    dataset = lying(layout(CONTENTS | {"test_batch": content}), BASE)
    write(root / BASE, {"test_batch": content})
    assert f"Tiny is damaged: {root / BASE / 'test_batch'} {says}" in fault(dataset, root)


def test_other_classes(lying: Callable[[Layout, str], Dataset], root: Path, fault: Fault) -> None:
    meta = python2(META | {"label_names": ["bear", "apple", "chair"]})
    dataset = lying(layout(CONTENTS | {"batches.meta": meta}), BASE)
    write(root / BASE, {"batches.meta": meta})
    assert "batches.meta names other classes: ['bear', 'apple', 'chair']" in fault(dataset, root)


# --- whether it is here, and getting it -------------------------------------------------------------------------------


def test_available_opens_no_file(
    tiny: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not available(tiny, root)
    write(root / BASE)
    monkeypatch.setattr(Path, "read_bytes", None)
    monkeypatch.setattr(Path, "open", None)
    assert available(tiny, root)
    (root / BASE / "test_batch").unlink()
    (root / BASE / "test_batch").touch()
    assert not available(tiny, root)


def test_get_checks_what_came_and_puts_it_in_place(tiny: Dataset, root: Path) -> None:
    said: list[str] = []
    broken = Source("A", "1 MB", lambda into: write(into / BASE, {"data_batch_2": b""}))
    works = Source("B", "1 MB", lambda into: write(into / BASE))
    found = get(replace(tiny, sources=(broken, works)), root, said.append)
    assert found == Location("tiny", "a copy", root / BASE)
    assert said[1].startswith("Tiny: not from A: what came is not the data set: ")
    assert {path.name: path.read_bytes() for path in (root / BASE).iterdir()} == CONTENTS
