"""CIFAR's batches, on files of a few images written as Python 2 wrote the published ones."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flatter_lib.vision.data import cifar
from flatter_lib.vision.data.known import _CIFAR10_CLASSES, _CIFAR10_FILES
from flatter_lib.vision.data.layouts import Files

N, SIDE = 4, 32


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
TRAIN = ("data_batch_1", "data_batch_2")
PIXELS = {
    name: rng.integers(0, 256, (N, 3 * SIDE**2), dtype=np.uint8) for name in (*TRAIN, "test_batch")
}
LABELS = {name: [int(k) for k in rng.integers(0, 10, N)] for name in PIXELS}
META = python2({"num_cases_per_batch": N, "label_names": list(_CIFAR10_CLASSES)})


def entry(name: str, **changed: Any) -> bytes:
    content = {"batch_label": name, "labels": LABELS[name], "data": PIXELS[name], "filenames": []}
    return python2(content | changed)


CONTENTS = {name: entry(name) for name in PIXELS} | {"batches.meta": META}


def known(contents: dict[str, bytes]) -> Files:
    """The layout to which these are the published files."""
    return Files({name: hashlib.md5(c).hexdigest() for name, c in contents.items()}, cifar.decode)


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_every_pixel_is_where_it_belongs() -> None:
    arrays = cifar.decode(CONTENTS)
    assert arrays.train_images.shape == (2 * N, SIDE, SIDE, 3)
    assert arrays.test_images.shape == (N, SIDE, SIDE, 3)
    row = PIXELS["data_batch_2"][1]
    for y, x, c in [(0, 0, 0), (0, 5, 0), (7, 3, 1), (31, 31, 2)]:
        assert arrays.train_images[N + 1, y, x, c] == row[c * SIDE**2 + y * SIDE + x]
    assert [*arrays.train_labels] == LABELS["data_batch_1"] + LABELS["data_batch_2"]
    assert [*arrays.test_labels] == LABELS["test_batch"]
    assert arrays.train_images.flags.writeable
    assert arrays.train_images.flags.c_contiguous


@pytest.mark.filterwarnings("ignore:.*align should be passed")  # torchvision reads the old numbers
def test_torchvision_reads_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    files = known(CONTENTS)
    folder = write(root / CIFAR10.base_folder, CONTENTS)
    pairs = [[name, files.digests[name]] for name in CONTENTS]
    monkeypatch.setattr(CIFAR10, "train_list", pairs[:2])
    monkeypatch.setattr(CIFAR10, "test_list", pairs[2:3])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": pairs[3][1]})
    arrays = files.read(folder)
    assert arrays is not None
    for train, pixels, labels in (
        (True, arrays.train_images, arrays.train_labels),
        (False, arrays.test_images, arrays.test_labels),
    ):
        theirs = CIFAR10(root, train=train)
        np.testing.assert_array_equal(theirs.data, pixels)
        np.testing.assert_array_equal(theirs.targets, labels)


def test_the_published_files_are_known_by_torchvisions_checksums() -> None:
    from torchvision.datasets import CIFAR10

    meta = [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]
    pairs = [*CIFAR10.train_list, *CIFAR10.test_list, meta]
    assert [[*pair] for pair in _CIFAR10_FILES.digests.items()] == pairs
    assert list(_CIFAR10_CLASSES) == sorted(_CIFAR10_CLASSES)


@pytest.mark.parametrize("name", CONTENTS)
def test_an_altered_file(root: Path, name: str, fault) -> None:
    write(root, CONTENTS | {name: CONTENTS[name][:-3] + b"???"})
    message = fault(known(CONTENTS))
    assert message.startswith(f"Tiny is damaged: {root / name} is truncated or altered (")
    assert "its MD5 is" in message


class Runs:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", PIXELS)
def test_no_code_of_a_pickle_is_run_even_if_its_checksum_fits(
    root: Path, tmp_path: Path, name: str, fault
) -> None:
    trace = tmp_path / "trace"
    evil = pickle.dumps({"data": Runs(trace)}, protocol=2)
    pickle.loads(evil)  # noqa: S301 - it would: that is what must not happen below
    assert trace.exists()
    trace.unlink()
    contents = CONTENTS | {name: evil}
    write(root, contents)
    says = f"{root} holds another data set: {name} is no batch of CIFAR: it asks for "
    assert says in fault(known(contents))
    assert not trace.exists()


PART = "test_batch"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rubbish", ""),
        (python2([1]), "list indices must be integers"),
        (python2({}), "'data'"),
        (entry(PART, data=PIXELS[PART][:, 1:]), r"\(4, 3071\) uint8 for pixels"),
        (entry(PART, data=PIXELS[PART].astype(np.int32)), "it holds values of type <i4, not u1"),
        (entry(PART, data=[1, 2, 3]), r"\(3,\) int64 for pixels"),
        (entry(PART, labels=[0, 1, 2]), "no label 0 to 9 an image"),
        (entry(PART, labels=[0, 1, 2, 10]), "no label 0 to 9 an image"),
        (entry(PART, labels=[0, 1, 2, -1]), "no label 0 to 9 an image"),
        (entry(PART, labels=["0"] * 4), "no label 0 to 9 an image"),
    ],
)
def test_what_fits_its_checksum_and_is_something_else(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"^test_batch is no batch of CIFAR: .*{says}"):
        cifar.decode(CONTENTS | {PART: content})
