"""Records on the disk: whole or absent, one file in the end, whoever leaves last."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flatter_lib.evidence.record import Record, encode
from flatter_lib.evidence.store import Store


def record(seed: int, **changed: Any) -> Record:
    return replace(Record("valley", {"lr": 0.1, "seed": seed}, {"trace": 2.0 * seed}), **changed)


def put(store: Store, *records: Record) -> None:
    for each in records:
        store.put(each)


def lines(store: Store) -> list[str]:
    return store.path.read_text().splitlines()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", "valley")


def test_one_file_sorted(store: Store) -> None:
    with store.working() as alone:
        assert alone
        put(store, *(record(seed) for seed in (10, 2, 1)))
        assert not store.path.exists()
        assert len(store.read().records) == 3
    assert lines(store) == [encode(record(seed)) for seed in (1, 2, 10)]
    with store.working():
        put(store, record(3), record(2, seconds=5.0))
    assert lines(store) == [
        encode(r) for r in (record(1), record(2, seconds=5.0), record(3), record(10))
    ]
    assert sorted(p.name for p in store.loose.iterdir()) == [".gitignore", "lock"]


def test_git_does_not_see_what_is_not_gathered(store: Store, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    git("init", "--quiet")
    with store.working():
        put(store, record(1))
    with store.working():
        put(store, record(2))
        seen = git("status", "--porcelain", "--untracked-files=all")
    assert seen == "?? results/valley.jsonl\n"


def test_the_last_to_leave_gathers(store: Store) -> None:
    other = Store(store.path.parent, "valley")
    first, second = store.working(), other.working()
    assert first.__enter__()
    assert not second.__enter__()
    put(store, record(1))
    put(other, record(2), record(1))
    first.__exit__(None, None, None)
    assert not store.path.exists()
    assert store.get(record(1).key) == record(1)
    second.__exit__(None, None, None)
    assert lines(store) == [encode(record(seed)) for seed in (1, 2)]


def test_a_failure_does_not_displace_a_measurement(store: Store) -> None:
    failed = record(1, error={"message": "no", "traceback": ""}, finished="9")
    for first, second, kept in (
        (record(1), failed, record(1)),
        (failed, record(1), record(1)),
        (record(1, seconds=1.0), record(1, seconds=2.0), record(1, seconds=2.0)),
    ):
        store.path.unlink(missing_ok=True)
        for each in (first, second):
            with store.working():
                put(store, each)
        assert lines(store) == [encode(kept)]


def test_no_line_is_lost_for_being_unreadable(store: Store) -> None:
    store.path.parent.mkdir()
    altered = encode(record(2)).replace("4.0", "5.0").encode()
    cut, garbage = encode(record(4))[:90].encode(), b"\x00\xff\r7"
    conflict = [b"<<<<<<< ours", encode(record(9)).encode(), b"======="]
    store.path.write_bytes(b"\r\n".join([altered, garbage, *conflict, cut]))
    loose = [encode(record(5))[:90].encode(), b"half\nof"]
    with store.working():
        put(store, record(3), record(2))
        for name, content in zip("ab", loose, strict=True):
            (store.loose / f"{name}.json").write_bytes(content)
    whole = [encode(record(seed)).encode() for seed in (2, 3, 9)]
    unread = [altered, garbage, conflict[0], conflict[2], cut, *loose]
    now = b"".join(line + b"\n" for line in [*whole, *unread])
    for _ in range(2):
        assert store.path.read_bytes() == now
        assert len(store.read().unread) == len(unread) + 1
        with store.working():
            pass
    assert sorted(p.name for p in store.loose.iterdir()) == [".gitignore", "lock"]


def test_a_file_is_left_alone_that_does_not_change(store: Store) -> None:
    with store.working():
        put(store, record(1), record(2))
    content = store.path.read_bytes().replace(b"\n", b"\r\n")
    store.path.write_bytes(content)
    before = store.path.stat().st_ino
    with store.working():
        put(store, record(1))
    assert (store.path.read_bytes(), store.path.stat().st_ino) == (content, before)


def test_what_a_killed_process_left_is_removed(store: Store) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom flatter_lib.evidence import Record\n"
        "from flatter_lib.evidence.store import Store\n"
        "store = Store(Path(sys.argv[1]), 'valley')\n"
        "with store.working():\n"
        "    os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "    store.put(Record('valley', {}))\n"
    )
    command = [sys.executable, "-c", code, str(store.path.parent)]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list(store.loose.glob("*.part"))) == 1
    with store.working() as alone:
        assert alone
        put(store, record(1))
    assert lines(store) == [encode(record(1))]
    assert not list(store.loose.glob("*.part"))


def test_nothing_is_left_of_what_cannot_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with store.working():
        put(store, record(1))
    with store.working():
        put(store, record(2))
    before = store.path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("flatter_lib.evidence.store.SYNC", -1.0)
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            put(store, record(3))
    assert store.get(record(3).key) is None
    assert store.path.read_text() == before
    assert sorted(store.read().records) == sorted(record(seed).key for seed in (1, 2))
    assert not list(store.loose.glob("*.part"))


def test_tiny_runs_do_not_wait_for_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    store.loose.mkdir(parents=True)
    for pause, waits in ((-1.0, 5), (1e9, 5)):
        monkeypatch.setattr("flatter_lib.evidence.store.SYNC", pause)
        put(store, *(record(seed) for seed in range(5)))
        assert len(synced) == waits
    put(Store(store.path.parent, "valley"), record(0), record(1))
    assert len(synced) == 6


def test_damaged_loose_records_are_named(store: Store) -> None:
    store.loose.mkdir(parents=True)
    (store.loose / "00.json").write_text(encode(record(1))[:-4])
    (store.loose / "11.json").write_text(encode(record(1)))
    put(store, record(2))
    found = store.read()
    assert list(found.unread.values()) == ["00.json, line 1 is cut off, or no JSON"]
    assert list(found.records) == [record(1).key, record(2).key]
    # Nobody takes a record for that of another run for its name.
    assert [store.get(name) for name in ("00", "11", "none")] == [None] * 3
