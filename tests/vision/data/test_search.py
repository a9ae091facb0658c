"""Finding, checking, fetching and loading, on copies of a few bytes that look like MNIST's."""

import errno
import gzip
import hashlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PosixPath

import numpy as np
import pytest

from flatter_lib.vision.data import (
    DataError,
    Location,
    available,
    data_root,
    find,
    get,
    load,
    status,
)
from flatter_lib.vision.data.datasets import Dataset, Place, Source
from flatter_lib.vision.data.fetch import FetchError
from flatter_lib.vision.data.idx_files import IdxFile, IdxFiles
from flatter_lib.vision.data.layouts import Arrays

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def encode(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


Fault = Callable[[Dataset, Path], str]

rng = np.random.default_rng(0)
ARRAYS = Arrays(
    rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
    rng.integers(0, 10, 6, dtype=np.uint8),
    rng.integers(0, 256, (9, 4, 4), dtype=np.uint8),
    rng.integers(0, 10, 9, dtype=np.uint8),
)
CONTENTS = dict(zip(NAMES, map(encode, ARRAYS), strict=True))
FILES = IdxFiles(
    *(
        IdxFile(name, array.shape, hashlib.sha256(CONTENTS[name]).hexdigest())
        for name, array in zip(NAMES, ARRAYS, strict=True)
    )
)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share" / "datasets" / "tiny"


@pytest.fixture
def tiny(share: Path) -> Dataset:
    """Four places as Fashion-MNIST has them; nothing to fetch it from."""
    return Dataset(
        name="tiny",
        title="Tiny",
        size="15 images",
        licence="none",
        homepage="https://example.org/tiny",
        places=(
            Place("torchvision layout", lambda root: (root / "FashionMNIST" / "raw",), FILES),
            Place("folder", lambda root: (root / "tiny",), FILES),
            Place("data root", lambda root: (root,), FILES),
            Place("Debian", lambda root: (share,), FILES),
        ),
        sources=(),
    )


def write(folder: Path, *, compressed: bool = False, **changed: bytes | None) -> Path:
    """A copy in a folder; ``train_images=...`` puts other bytes into that file, None leaves it out."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = dict(zip(Arrays._fields, CONTENTS.values(), strict=True)) | changed
    for name, content in zip(NAMES, contents.values(), strict=True):
        if content is not None:
            path = folder / (f"{name}.gz" if compressed else name)
            path.write_bytes(gzip.compress(content) if compressed else content)
    return folder


# --- finding and loading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("place", "label"),
    [("FashionMNIST/raw", "torchvision layout"), ("tiny", "folder"), ("", "data root")],
)
def test_each_place_in_the_root(
    tiny: Dataset, root: Path, place: str, label: str, compressed: bool
) -> None:
    folder = write(root / place, compressed=compressed)
    assert status(tiny, root) == Location("tiny", label, folder)
    images = load(tiny, root)
    assert (images.name, images.source) == ("tiny", label)
    np.testing.assert_array_equal(images.train_images, ARRAYS.train_images)
    np.testing.assert_array_equal(images.train_labels, ARRAYS.train_labels)
    np.testing.assert_array_equal(images.test_images, ARRAYS.test_images)
    np.testing.assert_array_equal(images.test_labels, ARRAYS.test_labels)
    assert images.train_images.dtype == images.test_images.dtype == np.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == np.int64
    assert images.train_images.flags.writeable  # torch.from_numpy warns otherwise


def test_a_systems_copy_serves_without_a_root(tiny: Dataset, root: Path, share: Path) -> None:
    write(share, compressed=True)
    assert load(tiny, root).source == "Debian"
    assert not root.exists()


def test_the_root_comes_before_the_system(tiny: Dataset, root: Path, share: Path) -> None:
    folders = [share, root, root / "tiny", root / "FashionMNIST" / "raw"]
    labels = ["Debian", "data root", "folder", "torchvision layout"]
    for n, (folder, label) in enumerate(zip(folders, labels, strict=True), start=1):
        write(folder)
        assert load(tiny, root).source == label
        assert [copy.label for copy in find(tiny, root)] == labels[:n][::-1]


def test_plain_and_compressed_files_mix(tiny: Dataset, root: Path) -> None:
    write(root, train_images=None)
    (root / f"{NAMES[0]}.gz").write_bytes(gzip.compress(CONTENTS[NAMES[0]]))
    assert load(tiny, root).source == "data root"


def test_a_damaged_plain_file_beside_an_intact_archive(tiny: Dataset, root: Path) -> None:
    write(root, compressed=True)
    write(root, test_labels=b"rubbish")
    np.testing.assert_array_equal(load(tiny, root).test_labels, ARRAYS.test_labels)


def test_a_damaged_copy_is_passed_over_and_named(tiny: Dataset, root: Path, share: Path) -> None:
    write(root, test_images=CONTENTS[NAMES[2]][:-1])
    write(share)
    found = status(tiny, root)
    assert isinstance(found, Location)
    assert found.label == "Debian"
    assert len(found.passed_over) == 1
    assert f"{root / NAMES[2]} is truncated" in found.passed_over[0]


# --- what can be wrong ------------------------------------------------------------------------------------------------


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda content: content[:-1],
            "is truncated: the header promises 6 x 4 x 4 = 96 bytes, 95 follow",
        ),
        (lambda content: content[:9], "is truncated: 9 bytes, shorter than its header"),
        (lambda content: b"", "is not an IDX file of unsigned bytes: it starts with nothing"),
        (
            lambda content: content + b"\0",
            "is too long: the header promises 6 x 4 x 4 = 96 bytes, 97",
        ),
        (flipped, "is altered: the SHA-256 of its content is "),
        (lambda content: b"\0\0\x0d" + content[3:], "it starts with 00 00 0d 03, not 00 00 08"),
        (gzip.compress, "it starts with 1f 8b 08 00"),
        (
            lambda content: encode(ARRAYS.train_images[1:]),
            "is another file: it holds 5 x 4 x 4 values, not 6 x 4 x 4",
        ),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file(
    tiny: Dataset,
    root: Path,
    change: Callable[[bytes], bytes],
    says: str,
    compressed: bool,
    fault: Fault,
) -> None:
    write(root, compressed=compressed, train_images=change(CONTENTS[NAMES[0]]))
    message = fault(tiny, root)
    assert message.startswith(f"Tiny is damaged: {root / NAMES[0]}")
    assert says in message


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: archive[:40],
        lambda archive: archive[:-8] + bytes(8),
        lambda archive: archive[:12] + b"\xff" * 20 + archive[32:],
        lambda archive: b"no archive",
        lambda archive: b"",
    ],
    ids=["truncated", "checksum", "stream", "magic", "empty"],
)
def test_a_damaged_archive(
    tiny: Dataset, root: Path, change: Callable[[bytes], bytes], fault: Fault
) -> None:
    path = write(root, compressed=True) / f"{NAMES[0]}.gz"
    path.write_bytes(change(path.read_bytes()))
    assert f"Tiny is damaged: {path} " in fault(tiny, root)


@pytest.mark.parametrize("name", Arrays._fields)
@pytest.mark.parametrize("compressed", [False, True])
def test_one_of_four_is_missing(
    tiny: Dataset, root: Path, name: str, compressed: bool, fault: Fault
) -> None:
    write(root, compressed=compressed, **{name: None})
    assert f"{root} lacks {NAMES[Arrays._fields.index(name)]}[.gz]" in fault(tiny, root)


def test_nothing_there(tiny: Dataset, root: Path, fault: Fault) -> None:
    for _ in range(2):
        assert fault(tiny, root).startswith(
            f"Tiny is missing: it is neither in the data root {root} nor"
        )
        assert find(tiny, root) == ()
        root.mkdir(exist_ok=True)  # an empty folder is no better than none


def test_the_root_is_a_file(tiny: Dataset, tmp_path: Path, fault: Fault) -> None:
    root = tmp_path / "file"
    root.touch()
    assert fault(tiny, root).startswith("Tiny is missing")
    unused = fails("A", AssertionError("was asked"))
    with pytest.raises(DataError, match=r"cannot be written to .*Not a directory"):
        get(replace(tiny, sources=(unused,)), root)


def test_a_file_that_cannot_be_read(tiny: Dataset, root: Path, fault: Fault) -> None:
    (write(root, train_labels=None) / NAMES[1]).mkdir()
    assert f"{root / NAMES[1]} cannot be read: Is a directory" in fault(tiny, root)


def test_a_folder_that_cannot_be_searched_counts_as_there() -> None:
    class Locked(PosixPath):  # by its class, since for root no folder is locked
        def exists(self) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied")

        def read_bytes(self) -> bytes:
            raise PermissionError(errno.EACCES, "Permission denied")

    assert FILES.present(Locked("/locked"))
    with pytest.raises(DataError, match=r"/locked/.* cannot be read: Permission denied"):
        FILES.read(Locked("/locked"))


def test_an_unknown_name() -> None:
    for function in (find, status, load, get, available):
        with pytest.raises(DataError, match="no data set 'fashion'; there is fashion-mnist"):
            function("fashion")


# --- whether it is here -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_available_goes_by_names_and_sizes_and_reads_nothing(
    tiny: Dataset, root: Path, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not available(tiny, root)
    folder = write(root / "tiny", compressed=compressed)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert available(tiny, root)
    for name in NAMES:
        path = folder / (f"{name}.gz" if compressed else name)
        aside = path.rename(folder / "aside")
        assert not available(tiny, root)
        aside.rename(path)


def test_a_plain_file_of_another_length_is_not_available(tiny: Dataset, root: Path) -> None:
    write(root, test_images=CONTENTS[NAMES[2]][:-1])
    assert not available(tiny, root)
    write(root / "tiny")  # another copy is
    assert available(tiny, root)


def test_a_folder_that_cannot_be_looked_into_is_not_available(root: Path, tiny: Dataset) -> None:
    class Locked(IdxFiles):
        def complete(self, folder: Path) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied")

    write(root)
    locked = Place("locked", lambda root: (root,), Locked(*FILES.files))
    assert not available(replace(tiny, places=(locked,)), root)
    assert available(replace(tiny, places=(locked, *tiny.places)), root)


# --- fetching ---------------------------------------------------------------------------------------------------------


def serves(label: str, *, compressed: bool = True, **changed: bytes | None) -> Source:
    """A source that works."""

    def fetch(into: Path) -> Path:
        assert not list(into.iterdir())
        return write(into / "somewhere", compressed=compressed, **changed)

    return Source(label, "1 kB", fetch)


def fails(label: str, error: BaseException) -> Source:
    """A source that breaks off half-way."""

    def fetch(into: Path) -> Path:
        write(into, train_images=CONTENTS[NAMES[0]][:50], test_labels=None)
        raise error

    return Source(label, "2 kB", fetch)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("compressed", [False, True])
def test_get_puts_what_it_fetched_into_torchvisions_layout(
    tiny: Dataset, root: Path, compressed: bool
) -> None:
    said: list[str] = []
    home = root / "FashionMNIST" / "raw"
    found = get(replace(tiny, sources=(serves("A", compressed=compressed),)), root, said.append)
    assert found == Location("tiny", "torchvision layout", home)
    assert said == [f"Tiny: fetching 1 kB from A into {home}"]
    assert {path.name: path.read_bytes() for path in home.iterdir()} == CONTENTS

    from torchvision.datasets import FashionMNIST

    for train, images in ((True, ARRAYS.train_images), (False, ARRAYS.test_images)):
        np.testing.assert_array_equal(FashionMNIST(root, train=train).data.numpy(), images)


def test_get_does_nothing_where_a_copy_is_intact(tiny: Dataset, root: Path, share: Path) -> None:
    write(share)
    unused = fails("A", AssertionError("was asked"))
    said: list[str] = []
    assert get(replace(tiny, sources=(unused,)), root, said.append).label == "Debian"
    assert said == []
    assert not root.exists()


def test_get_prints_the_source_and_its_size_before_it_asks(
    tiny: Dataset, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = []

    def fetch(into: Path) -> Path:
        heard.append(capsys.readouterr().out)
        return write(into)

    get(replace(tiny, sources=(Source("the moon", "3 MB", fetch),)), root)
    assert "3 MB from the moon" in heard[0]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (fails("A", FetchError("no answer")), "A: no answer"),
        (
            fails("A", OSError(errno.ENOSPC, "No space left")),
            "A: it cannot be kept while it arrives: No space left",
        ),
        (serves("A", train_images=b"<html>"), "A: what came is not the data set: "),
        (serves("A", test_labels=None), "A: what came is not the data set: "),
        (Source("A", "", lambda into: into), "A: what came is not the data set: "),
    ],
)
def test_get_goes_on_to_the_next_source(
    tiny: Dataset, root: Path, first: Source, reason: str
) -> None:
    said: list[str] = []
    get(replace(tiny, sources=(first, serves("B"))), root, said.append)
    assert "from A" in said[0]
    assert said[1].startswith(f"Tiny: not from {reason}")
    assert "from B" in said[2]
    assert len(said) == 3
    assert load(tiny, root).source == "torchvision layout"

    nowhere = root / "nowhere"
    with pytest.raises(DataError) as raised:
        get(
            replace(tiny, sources=(first, fails("B", FetchError("no route")))), nowhere, said.append
        )
    message = str(raised.value)
    assert reason in message
    assert "B: no route" in message
    assert tiny.homepage in message
    assert str(nowhere / "FashionMNIST" / "raw") in message
    assert files(nowhere) == []


def test_get_without_a_source_says_so(tiny: Dataset, root: Path) -> None:
    with pytest.raises(DataError, match=r"Tiny is missing: .*; set FLATTER_DATA to a folder"):
        get(tiny, root)
    assert not root.exists()


def test_get_mends_a_damaged_copy_and_says_what_was_wrong(tiny: Dataset, root: Path) -> None:
    home = write(root / "FashionMNIST" / "raw", train_labels=b"", test_images=None)
    said: list[str] = []
    get(replace(tiny, sources=(serves("A"),)), root, said.append)
    assert said[0].startswith(f"Tiny: {home / NAMES[1]} is not an IDX file")
    assert status(tiny, root) == Location("tiny", "torchvision layout", home)


def test_what_failed_to_come_leaves_the_old_files_alone(tiny: Dataset, root: Path) -> None:
    home = write(root / "FashionMNIST" / "raw", train_labels=b"mine")
    before = {path: path.read_bytes() for path in files(root)}
    with pytest.raises(DataError):
        get(replace(tiny, sources=(serves("A", test_labels=b""),)), root, lambda line: None)
    assert {path: path.read_bytes() for path in files(root)} == before
    assert (home / NAMES[1]).read_bytes() == b"mine"


def test_an_interrupt_leaves_nothing(
    tiny: Dataset, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = tmp_path / "tmp"
    waiting.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(waiting))
    with pytest.raises(KeyboardInterrupt):
        get(replace(tiny, sources=(fails("A", KeyboardInterrupt()),)), root, lambda line: None)
    assert files(root) == []
    assert list(waiting.iterdir()) == []


@contextmanager
def small_files_only() -> Iterator[None]:
    """A disk on which the third of the four files does not fit: it is the largest.

    The limit is the process's, and holds for the log that pytest writes between tests and phases of tests.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(map(len, CONTENTS.values()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing(tiny: Dataset, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "fetched"
    write(source, compressed=True, test_images=bytes(0))
    # Compresses to less than the limit, and does not fit when it is unpacked.
    zeros = ARRAYS._replace(test_images=np.zeros_like(ARRAYS.test_images))
    content = encode(zeros.test_images)
    (source / f"{NAMES[2]}.gz").write_bytes(gzip.compress(content))
    blank = replace(
        FILES, test_images=replace(FILES.test_images, sha256=hashlib.sha256(content).hexdigest())
    )
    dataset = replace(
        tiny,
        places=(Place("torchvision layout", lambda root: (root / "raw",), blank),),
        sources=(
            Source("A", "", lambda into: source),
            fails("B", AssertionError("the disk is still full")),
        ),
    )
    said = r"Tiny cannot be written to .*File too large; make room"
    with pytest.raises(DataError, match=said), small_files_only():
        get(dataset, root, lambda line: None)
    assert files(root) == []


def test_a_failure_between_two_moves_leaves_whole_files(root: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "fetched")
    (root / NAMES[2]).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        FILES.install(source, root)
    assert [path.name for path in files(root)] == sorted(NAMES[:2])
    assert all(path.read_bytes() == CONTENTS[path.name] for path in files(root))
    shutil.rmtree(root / NAMES[2])
    FILES.install(source, root)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == CONTENTS


def test_a_root_that_cannot_be_written_is_said_before_anything_is_fetched(
    tiny: Dataset, root: Path
) -> None:
    root.mkdir()
    (root / "FashionMNIST").touch()
    unused = fails("A", AssertionError("was asked"))
    with pytest.raises(DataError, match=r"Tiny cannot be written to .*set FLATTER_DATA"):
        get(replace(tiny, sources=(unused,)), root, lambda line: None)


# --- the data root ----------------------------------------------------------------------------------------------------


def test_the_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLATTER_DATA", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert data_root() == tmp_path / "home" / ".local" / "share" / "flatter"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_root() == tmp_path / "home" / ".local" / "share" / "flatter"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_root() == tmp_path / "xdg" / "flatter"
    monkeypatch.setenv("FLATTER_DATA", "")
    assert data_root() == tmp_path / "xdg" / "flatter"
    monkeypatch.setenv("FLATTER_DATA", "~/mine")
    assert data_root() == tmp_path / "home" / "mine"
    monkeypatch.chdir(tmp_path)
    assert data_root("here") == tmp_path / "here"


def test_the_variable_is_obeyed_and_the_argument_comes_first(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "variable")
    write(tmp_path / "argument")
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path / "variable"))
    for root, folder in ((None, "variable"), (tmp_path / "argument", "argument")):
        assert status(tiny, root) == Location("tiny", "data root", tmp_path / folder)


def test_neither_torch_nor_torchvision_is_imported() -> None:
    code = "import sys, flatter_lib.vision.data; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = done.stdout.split()
    assert "flatter_lib.vision.data" in modules
    assert not {"torch", "torchvision"} & set(modules)
