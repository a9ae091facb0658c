"""Where records are kept while a sweep runs, and how they become one file.

``NAME.jsonl`` is what is committed: the records of an experiment, sorted, one a line. Beside it the hidden folder
``.NAME``, which git ignores, holds each record that was measured since, in a file of its own named by its key: written
beside, synced, and moved into place, so that a kill or a full disk leaves whole records only. Whoever works on a store
holds a shared lock on it; the last to leave gathers what is in the folder into the file. A process that is killed
leaves the lock to the system, and its records to whoever comes next.

No line is deleted for being unreadable: in the file it stays, after the records; when its configuration was measured
again, it goes to ``NAME.unreadable`` beside it, and so does at once what was not yet in the file. What a newer version
of this library wrote stays in the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from flatter_lib.results.record import Record, decode, encode, order
from flatter_lib.results.records import Lines, read, take

#: Seconds between two records that are waited for until they are on the disk.
SYNC = 0.1


class Store:
    """The records of one experiment in a folder.

    Args:
        folder: where ``NAME.jsonl`` stands or shall stand.
        name: the experiment's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.loose = folder / f".{name}"
        self.aside = folder / f"{name}.unreadable"
        self._mark = uuid.uuid4().hex
        self._synced = -math.inf

    def read(self) -> Lines:
        """All records, gathered or not, failed ones too, and what is wrong with the rest.

        Raises:
            OSError: if they cannot be read.
        """
        # The folder first: what is gathered in between is in the file by then.
        return self._with(self._loose())

    @contextlib.contextmanager
    def working(self) -> Iterator[bool]:
        """Work on the store, together with others; says whether nobody else is at work, and gathers at the end.

        Raises:
            OSError: if the folder cannot be made or written.
        """
        self.loose.mkdir(parents=True, exist_ok=True)
        ignored = self.loose / ".gitignore"
        if not ignored.exists():
            self._replace(ignored, b"*\n")
        with (self.loose / "lock").open("a") as lock:
            alone = _exclusive(lock.fileno())
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield alone
            finally:
                # Two who leave at once must not wait for each other: each lets go, and then one of them gets it.
                fcntl.flock(lock, fcntl.LOCK_UN)
                if _exclusive(lock.fileno()):
                    self._gather()

    def put(self, key: str, line: str) -> None:
        """Keep a record: its line, as :func:`flatter_lib.results.record.encode` gives it.

        It is safe from a kill of any process. It is safe from a power cut if it is the first in a tenth of a second:
        waiting for the disk after each of many tiny runs would take longer than they do.

        Raises:
            OSError: if it cannot be written; nothing of it is left then.
        """
        sync = time.monotonic() - self._synced > SYNC
        path = self.loose / f"{key}.json"
        if path.exists() and self.get(key) is None:
            self._set_aside(path.read_bytes().split(b"\n"))
        self._replace(path, f"{line}\n".encode(), sync)
        if sync:
            self._synced = time.monotonic()

    def get(self, key: str) -> Record | None:
        """The record that somebody at work has put, if it is whole."""
        try:
            record = decode((self.loose / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if record.key == key else None

    def _gather(self) -> None:
        """Make one file of all records, and remove what a killed process left; no line is lost."""
        loose = self._loose()
        lines = self._with(loose)
        stay: list[bytes] = []
        aside: list[bytes] = []
        for each in lines.unread:
            replaced = each in loose.unread or each.key in lines.records
            (aside if replaced and not each.newer else stay).append(each.line)
        self._set_aside(aside)
        whole = (encode(record).encode() for record in sorted(lines.records.values(), key=order))
        content = b"".join(line + b"\n" for line in (*whole, *stay))
        if content != (
            self.path.read_bytes().replace(b"\r\n", b"\n") if self.path.exists() else b""
        ):
            self._replace(self.path, content)
        for path in self.loose.iterdir():
            if path.suffix in (".json", ".part"):
                path.unlink()

    def _set_aside(self, lines: list[bytes]) -> None:
        """Keep lines that cannot be read beside the file, each once."""
        known = self.aside.read_bytes().split(b"\n") if self.aside.exists() else []
        kept = [line for line in dict.fromkeys([*known, *lines]) if line.strip()]
        if not set(kept) <= set(known):
            self._replace(self.aside, b"".join(line + b"\n" for line in kept))

    def _with(self, loose: Lines) -> Lines:
        """What is in the file, and what was measured since."""
        lines = read(self.path) if self.path.exists() else Lines({}, [])
        records = dict(lines.records)
        for key, record in loose.records.items():
            # What was measured since counts, unless it failed where an earlier run did not.
            if record.ok or key not in records or not records[key].ok:
                records[key] = record
        return Lines(records, [*lines.unread, *loose.unread])

    def _loose(self) -> Lines:
        lines = Lines({}, [])
        for path in sorted(self.loose.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):
                for line in path.read_bytes().split(b"\n"):
                    take(lines, line, f"{self.loose.name}/{path.name}")
        return lines

    def _replace(self, path: Path, content: bytes, sync: bool = True) -> None:
        """Write a file beside its place, in the folder that git ignores, and move it there when it is whole."""
        beside = self.loose / f"{path.name}.{self._mark}.part"
        try:
            with beside.open("wb") as file:
                file.write(content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _exclusive(handle: int) -> bool:
    """Take the lock for oneself, if nobody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
