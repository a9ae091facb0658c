"""CIFAR's batches, on files of a few images written as Python 2 wrote the published ones, against torchvision."""

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
        assert pixels.flags.writeable
        assert pixels.flags.c_contiguous
        np.testing.assert_array_equal(theirs.targets, labels)


def test_the_published_files_are_known_by_torchvisions_checksums() -> None:
    from torchvision.datasets import CIFAR10

    meta = [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]
    pairs = [*CIFAR10.train_list, *CIFAR10.test_list, meta]
    assert [[*pair] for pair in _CIFAR10_FILES.digests.items()] == pairs
    assert list(_CIFAR10_CLASSES) == sorted(_CIFAR10_CLASSES)


class Runs:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_a_pickle_is_run_even_if_its_checksum_fits(
    root: Path, tmp_path: Path, fault
) -> None:
    trace = tmp_path / "trace"
    evil = pickle.dumps({"data": Runs(trace)}, protocol=2)
    pickle.loads(evil)  # noqa: S301 - it would: that is what must not happen below
    assert trace.exists()
    trace.unlink()
    contents = CONTENTS | {"data_batch_2": evil}
    write(root, contents)
    says = f"{root} holds another data set: data_batch_2 is no batch of CIFAR: it asks for "
    assert says in fault(known(contents))
    assert not trace.exists()


PART = "test_batch"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rubbish", ""),
        (python2([1]), "list indices must be integers"),
        (python2({}), "'labels'"),
        (entry(PART, data=PIXELS[PART][:, 1:]), "cannot reshape"),
        (entry(PART, data=PIXELS[PART].astype(np.int32)), "it holds values of type <i4, not u1"),
        (entry(PART, labels=[0, 1, 2]), "cannot reshape"),
        (entry(PART, labels=[0, 1, 2, -1]), "-1 out of bounds"),
    ],
)
def test_what_fits_its_checksum_and_is_something_else(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"^test_batch is no batch of CIFAR: .*{says}"):
        cifar.decode(CONTENTS | {PART: content})
