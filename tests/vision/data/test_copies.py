"""Finding, loading and getting, on copies of a few bytes that look like MNIST's."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.vision.data import DataError, Dataset, Location, Source, data_root, get, load
from flatter_lib.vision.data import status as asked
from flatter_lib.vision.data.layouts import Arrays

PLACES = {"torchvision layout": "FashionMNIST/raw", "folder": "tiny"}


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share" / "datasets" / "tiny"


@pytest.fixture
def made(tiny, share: Path, dataset: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """A data set with these sources, which may lie in two places of the root and in one of the system."""
    return lambda *sources: dataset(tiny.files, PLACES | {"Debian": str(share)}, *sources)


@pytest.mark.parametrize(("label", "place"), PLACES.items())
def test_each_place_in_the_root(tiny, made, root: Path, place: str, label: str) -> None:
    folder = tiny.write(root / place)
    assert asked(made(), root) == Location("tiny", label, folder)
    images = load(made(), root)
    assert (images.name, images.source) == ("tiny", label)
    for name, expected in zip(Arrays._fields, tiny.arrays, strict=True):
        found = getattr(images, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == (np.int64 if name.endswith("labels") else np.uint8)


def test_the_root_comes_before_the_system(tiny, made, root: Path, share: Path) -> None:
    tiny.write(share)
    assert load(made(), root).source == "Debian"
    assert not root.exists()
    for label, place in reversed(PLACES.items()):
        tiny.write(root / place)
        assert load(made(), root).source == label


def test_a_damaged_copy_is_passed_over_and_named(tiny, made, root: Path, share: Path) -> None:
    tiny.write(root / "tiny", test_images=b"")
    tiny.write(share)
    found = asked(made(), root)
    assert isinstance(found, Location)
    assert found.label == "Debian"
    (line,) = found.passed_over
    assert f"{root / 'tiny' / 't10k-images-idx3-ubyte'} is truncated" in line


def test_a_folder_that_cannot_be_looked_into(
    tiny, made, root: Path, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(path: Path) -> bytes:  # by hand, since for root no folder is locked
        if root in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    tiny.write(root / "tiny")
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", locked)
    assert "cannot be read: Permission denied; put its files" in str(asked(made(), root))
    tiny.write(share)
    assert load(made(), root).source == "Debian"


def test_an_unknown_name() -> None:
    for function in (asked, load, get):
        with pytest.raises(DataError, match="no data set 'fashion'; there is fashion-mnist"):
            function("fashion")


@pytest.fixture
def serves(tiny) -> Callable[..., Source]:
    """A source that works."""

    def source(label: str, *, compressed: bool = True, **changed: bytes | None) -> Source:
        def fetch(into: Path) -> Path:
            assert not list(into.iterdir())
            return tiny.write(into / "somewhere", compressed=compressed, **changed)

        return Source(label, "1 kB", fetch)

    return source


@pytest.fixture
def fails(tiny) -> Callable[[str, BaseException], Source]:
    """A source that breaks off half-way."""

    def source(label: str, error: BaseException) -> Source:
        def fetch(into: Path) -> Path:
            tiny.write(into, train_images=b"half", test_labels=None)
            raise error

        return Source(label, "2 kB", fetch)

    return source


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


@pytest.mark.parametrize("compressed", [False, True])
def test_what_was_fetched_lies_where_torchvision_reads_it(
    tiny, made, serves, root: Path, compressed: bool
) -> None:
    said: list[str] = []
    home = root / "FashionMNIST" / "raw"
    found = get(made(serves("A", compressed=compressed)), root, said.append)
    assert found == Location("tiny", "torchvision layout", home)
    assert said == [f"Tiny: fetching 1 kB from A into {home}"]
    assert files(home) == tiny.contents

    from torchvision.datasets import FashionMNIST

    for train, images in ((True, tiny.arrays.train_images), (False, tiny.arrays.test_images)):
        np.testing.assert_array_equal(FashionMNIST(root, train=train).data.numpy(), images)


def test_nothing_is_fetched_where_a_copy_is_intact(
    tiny, made, fails, root: Path, share: Path
) -> None:
    tiny.write(share)
    unused = fails("A", AssertionError("was asked"))
    assert get(made(unused), root, report=pytest.fail).label == "Debian"
    assert not root.exists()


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (DataError("no answer"), "A: no answer"),
        (OSError(errno.ENOSPC, "No space left"), "A: it cannot be kept while it arrives: No space"),
        ({"train_images": b"<html>"}, "A: what came is not the data set: "),
        ({"test_labels": None}, "A: what came is not the data set: "),
        (dict.fromkeys(Arrays._fields), "A: what came is not the data set: none of its files"),
    ],
)
def test_one_that_fails_leads_on_to_the_next(
    made, serves, fails, root: Path, first: OSError | DataError | dict[str, None], reason: str
) -> None:
    source = serves("A", **first) if isinstance(first, dict) else fails("A", first)
    said: list[str] = []
    get(made(source, serves("B")), root, said.append)
    assert [line.partition(reason)[0] for line in said] == [
        f"Tiny: fetching {source.size} from A into {root / 'FashionMNIST' / 'raw'}",
        "Tiny: not from ",
        f"Tiny: fetching 1 kB from B into {root / 'FashionMNIST' / 'raw'}",
    ]

    nowhere = root / "nowhere"
    with pytest.raises(DataError) as raised:
        get(made(source, fails("B", DataError("no route"))), nowhere, said.append)
    for part in (reason, "; B: no route)", "https://example.org/tiny", f"{nowhere / 'Fashion'}"):
        assert part in str(raised.value)
    assert files(nowhere) == {}


def test_without_a_source_the_cure_is_said(made, root: Path) -> None:
    with pytest.raises(DataError, match=r"Tiny is missing: .*; put its files from https"):
        get(made(), root)
    assert not root.exists()


def test_a_damaged_copy_is_mended_and_named(tiny, made, serves, root: Path) -> None:
    home = tiny.write(root / "FashionMNIST" / "raw", train_labels=b"", test_images=None)
    said: list[str] = []
    found = get(made(serves("A")), root, said.append)
    assert said[0].startswith(f"Tiny: {home / 'train-labels-idx1-ubyte'} is truncated")
    assert found == Location("tiny", "torchvision layout", home)


def test_an_interrupt_leaves_all_as_it_was(
    tiny, made, fails, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = tmp_path / "tmp"
    waiting.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(waiting))
    tiny.write(root / "FashionMNIST" / "raw", train_labels=b"mine")
    before = files(root)
    with pytest.raises(KeyboardInterrupt):
        get(made(fails("A", KeyboardInterrupt())), root, lambda line: None)
    assert files(root) == before
    assert list(waiting.iterdir()) == []


def test_a_disk_that_is_full_when_all_has_come(
    made, serves, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr("flatter_lib.files.replace", full)
    with pytest.raises(DataError, match=r"Tiny cannot be written to .*: No space left; make room"):
        get(made(serves("A"), serves("B")), root, lambda line: None)
    assert files(root) == {}


@pytest.mark.parametrize("file", ["", "FashionMNIST"])
def test_a_root_that_cannot_be_written_is_said_before_anything_is_fetched(
    made, fails, root: Path, file: str
) -> None:
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).touch()
    unused = fails("A", AssertionError("was asked"))
    with pytest.raises(DataError, match=r"Tiny cannot be written to .*; make room there, or set F"):
        get(made(unused), root, report=pytest.fail)


def test_the_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLATTER_DATA", raising=False)
    for share, expected in (("relative", "home/.local/share"), (str(tmp_path / "xdg"), "xdg")):
        monkeypatch.setenv("XDG_DATA_HOME", share)
        assert data_root() == tmp_path / expected / "flatter"
    for given, expected in (("", "xdg/flatter"), ("~/mine", "home/mine")):
        monkeypatch.setenv("FLATTER_DATA", given)
        assert data_root() == tmp_path / expected
    monkeypatch.chdir(tmp_path)
    assert data_root("here") == tmp_path / "here"


def test_the_variable_is_obeyed_and_the_argument_comes_first(
    tiny, made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path / "variable"))
    for root, name in ((None, "variable"), (tmp_path / "argument", "argument")):
        folder = tiny.write(tmp_path / name / "tiny")
        assert asked(made(), root) == Location("tiny", "folder", folder)


def test_neither_torch_nor_torchvision_is_imported() -> None:
    code = "import sys, flatter_lib.vision.data; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = done.stdout.split()
    assert "flatter_lib.vision.data" in modules
    assert not {"torch", "torchvision"} & set(modules)
